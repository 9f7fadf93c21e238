import type { ModelConfig } from '../index.ts';
import { formatInteger } from './format.ts';

/** "3+4 layers, 8 heads of 32, d_model 256, vocabulary 8,192" */
export function describeArchitecture(config: ModelConfig): string {
  return (
    `${config.num_layers}+${config.num_decoder_layers} layers, ${config.num_heads} heads of ` +
    `${config.d_kv}, d_model ${config.d_model}, vocabulary ${formatInteger(config.vocab_size)}`
  );
}
