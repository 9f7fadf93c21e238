export {
  HUB_RULES,
  hubOptions,
  resolveFiles,
  resolveModel,
  type ResolveModelOptions,
} from './resolve.ts';
export {
  chooseTokenizer,
  CONFIG_FILES,
  lacks,
  present,
  TOKENIZER_FILES,
  type FileChoice,
} from './files.ts';
export { isHubName } from './name.ts';
