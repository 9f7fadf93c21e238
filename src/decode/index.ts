export { Engine } from './engine.ts';
export type { CacheDtype } from '../native.ts';
export type * from './types.ts';
