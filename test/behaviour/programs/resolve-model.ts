/** Resolves a name of the hub and prints the directory. Arguments: name, HF_ENDPOINT, HF_HOME. */
import { resolveModel } from '../../../src/index.ts';

const [name = '', endpoint, home] = process.argv.slice(2);
Object.assign(process.env, { HF_ENDPOINT: endpoint, HF_HOME: home });
process.stdout.write(`${await resolveModel(name)}\n`);
