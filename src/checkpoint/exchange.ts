/** Exchanging two paths in one step, which Node has no function for. */
import { native } from '../native.ts';

/**
 * Exchanges what two paths name; false where the file system or the operating system cannot, or will
 * not for these paths (a mount point, another file system).
 */
export async function exchangePaths(first: string, second: string): Promise<boolean> {
  try {
    return (await native().exchangePaths(first, second)) === 0;
  } catch {
    // Without the addon there is no such call; a save does not need it.
    return false;
  }
}
