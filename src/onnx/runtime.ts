/** onnxruntime-node, which is there only if the user has installed it, and its sessions. */
import type * as Ort from 'onnxruntime-node';
import { WgqaError } from '../errors.ts';
import type { SessionSettings } from './protocol.ts';

export type Runtime = typeof Ort;
export type InferenceSession = Ort.InferenceSession;
export type Outputs = Ort.InferenceSession.ReturnType;
export type Tensor = Ort.Tensor;

/** @throws WgqaError PEER_UNAVAILABLE */
export async function loadRuntime(name = 'onnxruntime-node'): Promise<Runtime> {
  try {
    return (await import(name)) as Runtime;
  } catch (cause) {
    const message = `${name} cannot be loaded; install it beside wgqa: npm install ${name}`;
    const allowed = `${name} ^1.30.0`;
    throw new WgqaError('PEER_UNAVAILABLE', message, { field: name, allowed, cause });
  }
}

/** @throws WgqaError INVALID_FILE for a file that the runtime refuses */
export async function openSession(
  { InferenceSession }: Runtime,
  file: string,
  { executionProviders, threads }: SessionSettings,
): Promise<InferenceSession> {
  try {
    return await InferenceSession.create(file, {
      executionProviders: [...executionProviders] as Ort.InferenceSession.ExecutionProviderConfig[],
      ...(threads > 0 && { intraOpNumThreads: threads }),
      logSeverityLevel: 3,
    });
  } catch (cause) {
    const message = `${file} cannot be loaded by ONNX Runtime: ${messageOf(cause)}`;
    throw new WgqaError('INVALID_FILE', message, { field: file, cause: messageOf(cause) });
  }
}

/** @throws WgqaError INVALID_FILE where a session lacks one of its inputs or outputs */
export function checkNames(
  file: string,
  actual: readonly string[],
  expected: readonly string[],
): void {
  const missing = expected.find((name) => !actual.includes(name));
  if (missing === undefined) return;
  const message = `${file} has no input or output ${missing}, as Optimum's T5 exports have`;
  throw new WgqaError('INVALID_FILE', message, { field: missing, allowed: expected.join(', ') });
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
