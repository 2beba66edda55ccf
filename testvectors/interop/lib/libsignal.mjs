// The copies of libsignal-node and of the group classes that Baileys itself uses.
import { createRequire } from 'node:module';

// libsignal is Baileys' dependency, not ours: resolve it from there, so that it can be no other copy.
const require = createRequire(import.meta.resolve('baileys'));

export const libsignal = require('libsignal');
export * as group from 'baileys/lib/Signal/Group/index.js';
