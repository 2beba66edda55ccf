// One party of the Signal protocol with an in-memory store, everything computed by libsignal-node.
import { BufferJSON } from 'baileys';
import { group, libsignal } from './libsignal.mjs';

const { curve, keyhelper, ProtocolAddress, SessionBuilder, SessionCipher, SessionRecord } = libsignal;
const PREKEY_MESSAGE = 3;

const base64 = bytes => Buffer.from(bytes).toString('base64');
const bytes = text => Buffer.from(text, 'base64');

// libsignal queues its jobs by address in one process-wide map, so two parties that talk to the same third one
// would wait for each other. That is harmless; sharing a store would not be.
class Store {
	constructor({ identity, registrationId }) {
		this.identity = identity;
		this.registrationId = registrationId;
		this.sessions = new Map();
		this.preKeys = new Map();
		this.signedPreKeys = new Map();
		this.senderKeys = new Map();
	}

	getOurIdentity = () => this.identity;
	getOurRegistrationId = () => this.registrationId;
	isTrustedIdentity = () => true;
	// Records go through their serialized form, as they do in a real store.
	loadSession = address => (this.sessions.has(address) ? SessionRecord.deserialize(structuredClone(this.sessions.get(address))) : undefined);
	storeSession = (address, record) => void this.sessions.set(address, record.serialize());
	loadPreKey = id => this.preKeys.get(id);
	removePreKey = id => void this.preKeys.delete(id);
	loadSignedPreKey = id => this.signedPreKeys.get(id)?.keyPair;
	loadSenderKey = name => {
		const stored = this.senderKeys.get(String(name));
		return stored ? group.SenderKeyRecord.deserialize(stored) : new group.SenderKeyRecord();
	};
	// With the replacer. Baileys' own store leaves it out, so its skipped message keys come back as plain objects and an
	// out-of-order group message fails there; that is a fault of its store, not of the group classes we compare with.
	storeSenderKey = (name, record) => void this.senderKeys.set(String(name), JSON.stringify(record.serialize(), BufferJSON.replacer));
}

export class Party {
	#store;

	constructor({ registrationId, identityPrivateBase64 } = {}) {
		const identity = identityPrivateBase64
			? { privKey: bytes(identityPrivateBase64), pubKey: curve.getPublicFromPrivateKey(bytes(identityPrivateBase64)) }
			: keyhelper.generateIdentityKeyPair();
		this.#store = new Store({ identity, registrationId: registrationId ?? keyhelper.generateRegistrationId() });
	}

	describe() {
		return { registrationId: this.#store.registrationId, identityBase64: base64(this.#store.identity.pubKey) };
	}

	/** Everything secret, for a test that wants to play this party itself. */
	secrets() {
		const pair = ([id, { pubKey, privKey }]) => ({ id, publicBase64: base64(pubKey), privateBase64: base64(privKey) });
		return {
			...this.describe(),
			identityPrivateBase64: base64(this.#store.identity.privKey),
			preKeys: [...this.#store.preKeys].map(pair),
			signedPreKeys: [...this.#store.signedPreKeys].map(([id, { keyPair, signature }]) => ({ ...pair([id, keyPair]), signatureBase64: base64(signature) }))
		};
	}

	generatePreKeys(first, count) {
		return Array.from({ length: count }, (_, index) => {
			const { keyId, keyPair } = keyhelper.generatePreKey(first + index);
			this.#store.preKeys.set(keyId, keyPair);
			return { id: keyId, publicBase64: base64(keyPair.pubKey) };
		});
	}

	generateSignedPreKey(id) {
		const { keyId, keyPair, signature } = keyhelper.generateSignedPreKey(this.#store.identity, id);
		this.#store.signedPreKeys.set(keyId, { keyPair, signature });
		return { id: keyId, publicBase64: base64(keyPair.pubKey), signatureBase64: base64(signature) };
	}

	/** What a server would hand out. Without `preKeyId` the bundle has no one-time key. */
	bundle({ signedPreKeyId, preKeyId }) {
		const signed = this.#store.signedPreKeys.get(signedPreKeyId);
		if (!signed) throw new Error(`no signed prekey ${signedPreKeyId}`);
		const preKey = preKeyId === undefined ? undefined : this.#store.preKeys.get(preKeyId);
		if (preKeyId !== undefined && !preKey) throw new Error(`no prekey ${preKeyId}`);
		return {
			...this.describe(),
			signedPreKey: { id: signedPreKeyId, publicBase64: base64(signed.keyPair.pubKey), signatureBase64: base64(signed.signature) },
			...(preKey && { preKey: { id: preKeyId, publicBase64: base64(preKey.pubKey) } })
		};
	}

	hasPreKey(id) {
		return this.#store.preKeys.has(id);
	}

	/** Starts a session as initiator: the next ciphertext is a `pkmsg`. The bundle's signature is NOT checked by libsignal-node. */
	async startSession(peer, { registrationId, identityBase64, signedPreKey, preKey }) {
		await new SessionBuilder(this.#store, ProtocolAddress.from(peer)).initOutgoing({
			registrationId,
			identityKey: bytes(identityBase64),
			signedPreKey: { keyId: signedPreKey.id, publicKey: bytes(signedPreKey.publicBase64), signature: bytes(signedPreKey.signatureBase64) },
			...(preKey && { preKey: { keyId: preKey.id, publicKey: bytes(preKey.publicBase64) } })
		});
	}

	async encrypt(peer, plaintextBase64) {
		const { type, body } = await this.#cipher(peer).encrypt(bytes(plaintextBase64));
		return { type: type === PREKEY_MESSAGE ? 'pkmsg' : 'msg', ciphertextBase64: base64(body) };
	}

	async decrypt(peer, type, ciphertextBase64) {
		const cipher = this.#cipher(peer);
		const ciphertext = bytes(ciphertextBase64);
		if (type !== 'pkmsg' && type !== 'msg') throw new Error('type must be pkmsg or msg');
		const plaintext = type === 'pkmsg' ? await cipher.decryptPreKeyWhisperMessage(ciphertext) : await cipher.decryptWhisperMessage(ciphertext);
		return { plaintextBase64: base64(plaintext) };
	}

	/** libsignal's own JSON of the whole record with all its (also closed) sessions, or null. */
	session(peer) {
		return structuredClone(this.#store.sessions.get(peer) ?? null);
	}

	putSession(peer, session) {
		if (session === null) this.#store.sessions.delete(peer);
		else this.#store.sessions.set(peer, SessionRecord.deserialize(session).serialize());
	}

	/** The distribution message of this party's own sender key, made at the first call. */
	async createSenderKey(groupId, self) {
		const message = await new group.GroupSessionBuilder(this.#store).create(senderName(groupId, self));
		return { distributionBase64: base64(message.serialize()) };
	}

	async processSenderKey(groupId, sender, distributionBase64) {
		const message = new group.SenderKeyDistributionMessage(null, null, null, null, bytes(distributionBase64));
		await new group.GroupSessionBuilder(this.#store).process(senderName(groupId, sender), message);
	}

	async groupEncrypt(groupId, self, plaintextBase64) {
		const ciphertext = await new group.GroupCipher(this.#store, senderName(groupId, self)).encrypt(bytes(plaintextBase64));
		return { ciphertextBase64: base64(ciphertext) };
	}

	async groupDecrypt(groupId, sender, ciphertextBase64) {
		const plaintext = await new group.GroupCipher(this.#store, senderName(groupId, sender)).decrypt(bytes(ciphertextBase64));
		return { plaintextBase64: base64(plaintext) };
	}

	/** Baileys' own JSON of the sender-key states, or null. */
	senderKey(groupId, sender) {
		return JSON.parse(this.#store.senderKeys.get(String(senderName(groupId, sender))) ?? 'null');
	}

	#cipher(peer) {
		return new SessionCipher(this.#store, ProtocolAddress.from(peer));
	}
}

const senderName = (groupId, sender) => new group.SenderKeyName(groupId, ProtocolAddress.from(sender));

export const primitives = {
	generateKeyPair: () => {
		const { pubKey, privKey } = curve.generateKeyPair();
		return { publicBase64: base64(pubKey), privateBase64: base64(privKey) };
	},
	publicKey: ({ privateBase64 }) => ({ publicBase64: base64(curve.getPublicFromPrivateKey(bytes(privateBase64))) }),
	agree: ({ publicBase64, privateBase64 }) => ({ secretBase64: base64(curve.calculateAgreement(bytes(publicBase64), bytes(privateBase64))) }),
	sign: ({ privateBase64, messageBase64 }) => ({ signatureBase64: base64(curve.calculateSignature(bytes(privateBase64), bytes(messageBase64))) }),
	// Here the verdict of the curve code itself; Baileys ignores it (Curve.verify), libsignal skips it for bundles.
	verify: ({ publicBase64, messageBase64, signatureBase64 }) => ({
		valid: curve.verifySignature(bytes(publicBase64), bytes(messageBase64), bytes(signatureBase64))
	}),
	deriveSecrets: ({ inputBase64, saltBase64, infoBase64, chunks }) => ({
		chunksBase64: libsignal.crypto.deriveSecrets(bytes(inputBase64), bytes(saltBase64), bytes(infoBase64), chunks).map(base64)
	})
};
