// Jest runs tests in their own V8 realm, whose typed arrays are not those that native addons create
// and check for. Sharing the outer realm's binary-data classes makes both sides agree.
import { TestEnvironment } from 'jest-environment-node';

const SHARED_CLASSES = [
  'ArrayBuffer',
  'SharedArrayBuffer',
  'DataView',
  'Int8Array',
  'Uint8Array',
  'Uint8ClampedArray',
  'Int16Array',
  'Uint16Array',
  'Int32Array',
  'Uint32Array',
  'Float16Array',
  'Float32Array',
  'Float64Array',
  'BigInt64Array',
  'BigUint64Array',
];

export default class RealmEnvironment extends TestEnvironment {
  /** @param {ConstructorParameters<typeof TestEnvironment>} args */
  constructor(...args) {
    super(...args);
    for (const name of SHARED_CLASSES) {
      if (name in globalThis) {
        Reflect.set(this.global, name, Reflect.get(globalThis, name));
      }
    }
  }
}
