/** Files that are something else than their name says, or that this package does not read: by name, with the cure. */

const LFS_POINTER = 'version https://git-lfs.github.com/spec/';

/**
 * What a file is that begins with `start`, as it reads after its name; undefined if that is unknown.
 * Some 100 bytes are enough.
 */
export function foreignContent(start: Uint8Array): string | undefined {
  const text = Buffer.from(start.subarray(0, 128)).toString('latin1');
  if (text.startsWith(LFS_POINTER)) {
    return 'is a Git LFS pointer, not the file itself: run "git lfs pull" in its repository';
  }
  if (text.startsWith('GGUF'))
    return 'is a GGUF file, which is not supported: give a Hugging Face checkpoint';
  if (text.startsWith('\x89HDF')) return 'is an HDF5 file (TensorFlow), which is not supported';
  if (/^\s*<(?:!doctype|html)/i.test(text)) {
    return 'is an HTML page: the download gave an error or a login page';
  }
  if (text.startsWith('PK\x03\x04'))
    return 'is a zip file (PyTorch?): its name should end with .bin';
  return undefined;
}

const SAVE_AGAIN =
  'save_pretrained(directory, safe_serialization=True) of Transformers writes model.safetensors';

/** Weights that are not read, the cure included; the first that matches a file is reported. */
const UNREAD_WEIGHTS: readonly (readonly [RegExp, string])[] = [
  [
    /^adapter_(?:config\.json|model\.(?:safetensors|bin))$/,
    'is an adapter (LoRA) without its base model: merge it with merge_and_unload() of PEFT and save the result',
  ],
  [
    /\.gguf$/,
    'is a GGUF file, which is not supported: give the Hugging Face checkpoint it was made from',
  ],
  [
    /^tf_model(?:-\d+-of-\d+)?\.h5$/,
    `holds TensorFlow weights, which are not read: load it with from_tf=True in Transformers 4, and ${SAVE_AGAIN}`,
  ],
  [
    /^flax_model(?:-\d+-of-\d+)?\.msgpack$/,
    `holds Flax weights, which are not read: load it with from_flax=True in Transformers 4, and ${SAVE_AGAIN}`,
  ],
  [
    /^(?:checkpoint|model\.ckpt.*)$/,
    `is a TensorFlow checkpoint, which is not read: convert it with Transformers 4, and ${SAVE_AGAIN}`,
  ],
  [/\.onnx$/, 'is an ONNX graph: loadOnnx reads it, loadModel needs weights'],
  [
    /\.(?:safetensors|bin|pt|pth)$/,
    'is not a name of Hugging Face: give the path of the file itself if it is the weights',
  ],
];

/** What `names`, the files of a directory, hold instead of weights that are read. */
export function unreadWeights(names: readonly string[]): string | undefined {
  for (const [pattern, sentence] of UNREAD_WEIGHTS) {
    const name = names.find((candidate) => pattern.test(candidate));
    if (name !== undefined) return `${name} ${sentence}`;
  }
  return undefined;
}
