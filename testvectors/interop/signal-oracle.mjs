// libsignal-node (and Baileys' sender-key classes) behind JSON lines. Protocol: README.md.
//   node --import ./guard.mjs signal-oracle.mjs
import { pick, serve } from './lib/stdio.mjs';
import { Party, primitives } from './lib/party.mjs';

const parties = new Map();

const party = name => {
	if (!parties.has(name)) throw new Error(`no party ${name}`);
	return parties.get(name);
};

const methods = {
	...primitives,
	create: ({ party: name, ...keys }) => {
		parties.set(name, new Party(keys));
		return party(name).describe();
	},
	drop: ({ party: name }) => void parties.delete(name),
	secrets: ({ party: name }) => party(name).secrets(),
	generatePreKeys: ({ party: name, first = 1, count = 1 }) => party(name).generatePreKeys(first, count),
	generateSignedPreKey: ({ party: name, id = 1 }) => party(name).generateSignedPreKey(id),
	bundle: ({ party: name, signedPreKeyId = 1, preKeyId }) => party(name).bundle({ signedPreKeyId, preKeyId }),
	hasPreKey: ({ party: name, id }) => party(name).hasPreKey(id),

	startSession: ({ party: name, peer, bundle }) => party(name).startSession(peer, bundle),
	encrypt: ({ party: name, peer, plaintextBase64 }) => party(name).encrypt(peer, plaintextBase64),
	decrypt: ({ party: name, peer, type, ciphertextBase64 }) => party(name).decrypt(peer, type, ciphertextBase64),
	session: ({ party: name, peer }) => party(name).session(peer),
	putSession: ({ party: name, peer, session }) => party(name).putSession(peer, session),

	createSenderKey: ({ party: name, group, sender }) => party(name).createSenderKey(group, sender),
	processSenderKey: ({ party: name, group, sender, distributionBase64 }) => party(name).processSenderKey(group, sender, distributionBase64),
	groupEncrypt: ({ party: name, group, sender, plaintextBase64 }) => party(name).groupEncrypt(group, sender, plaintextBase64),
	groupDecrypt: ({ party: name, group, sender, ciphertextBase64 }) => party(name).groupDecrypt(group, sender, ciphertextBase64),
	senderKey: ({ party: name, group, sender }) => party(name).senderKey(group, sender),

	quit: () => void setImmediate(() => process.exit(0))
};

serve(({ method, params = {} }) => pick(methods, method)(params), () => process.exit(0));
