// The server's half of the transport, enough for Baileys. Not a judge of anything: see README, "bench".
import { aesDecryptGCM, aesEncryptGCM, Curve, decodeBinaryNode, encodeBinaryNode, hkdf, proto, sha256 } from 'baileys';

const EMPTY = Buffer.alloc(0);
const PROLOGUE = Buffer.from([0x57, 0x41, 6, 3]);

const nonce = counter => {
	const bytes = Buffer.alloc(12);
	bytes.writeUInt32BE(counter, 8);
	return bytes;
};

function certificate(key, serial, issuerSerial, signer) {
	const details = Buffer.from(proto.CertChain.NoiseCertificate.Details.encode({ serial, issuerSerial, key, notBefore: 0, notAfter: 0xffffffff }).finish());
	return { details, signature: Curve.sign(signer, details) };
}

/** One connection: feed it WebSocket messages, it answers the handshake and then yields nodes. */
export class ServerNoise {
	#input = EMPTY;
	#sawIntro = false;
	#hash = Buffer.from('Noise_XX_25519_AESGCM_SHA256\0\0\0\0');
	#chain = this.#hash;
	#key;
	#counter = 0;
	#transport;
	#ephemeral = Curve.generateKeyPair();
	#static = Curve.generateKeyPair();
	#root;
	#send;

	constructor(root, send) {
		this.#root = root;
		this.#send = send;
	}

	/** Returns what the bytes held: at most one {login: ClientPayload}, and nodes. */
	async receive(bytes) {
		this.#input = Buffer.concat([this.#input, bytes]);
		if (!this.#sawIntro) {
			this.#mixHash(PROLOGUE);
			this.#input = this.#input.subarray(4);
			this.#sawIntro = true;
		}
		const found = [];
		while (this.#input.length >= 3) {
			const length = this.#input.readUIntBE(0, 3);
			if (this.#input.length < 3 + length) break;
			const frame = this.#input.subarray(3, 3 + length);
			this.#input = this.#input.subarray(3 + length);
			if (this.#transport) {
				const plain = aesDecryptGCM(frame, this.#transport.read, nonce(this.#transport.readCounter++), EMPTY);
				found.push({ node: await decodeBinaryNode(plain) });
			} else {
				const payload = this.#handshake(proto.HandshakeMessage.decode(frame));
				if (payload) found.push({ login: payload });
			}
		}
		return found;
	}

	sendNode(node) {
		this.#frame(aesEncryptGCM(encodeBinaryNode(node), this.#transport.write, nonce(this.#transport.writeCounter++), EMPTY));
	}

	#handshake({ clientHello, clientFinish }) {
		if (clientHello) {
			this.remote = Buffer.from(clientHello.ephemeral);
			this.#mixHash(this.remote);
			this.#mixHash(this.#ephemeral.public);
			this.#mixKey(Curve.sharedKey(this.#ephemeral.private, this.remote));
			const sealed = this.#encrypt(this.#static.public);
			this.#mixKey(Curve.sharedKey(this.#static.private, this.remote));
			const intermediateKey = Curve.generateKeyPair();
			const chain = {
				intermediate: certificate(intermediateKey.public, 1, 0, this.#root.private),
				leaf: certificate(this.#static.public, 2, 1, intermediateKey.private)
			};
			const payload = this.#encrypt(proto.CertChain.encode(chain).finish());
			const serverHello = { ephemeral: this.#ephemeral.public, static: sealed, payload };
			this.#frame(proto.HandshakeMessage.encode({ serverHello }).finish());
			return undefined;
		}
		const clientStatic = this.#decrypt(clientFinish.static);
		this.#mixKey(Curve.sharedKey(this.#ephemeral.private, clientStatic));
		const payload = this.#decrypt(clientFinish.payload);
		const keys = hkdf(EMPTY, 64, { salt: this.#chain, info: '' });
		this.#transport = { read: keys.subarray(0, 32), write: keys.subarray(32), readCounter: 0, writeCounter: 0 };
		return proto.ClientPayload.decode(payload);
	}

	#frame(bytes) {
		const length = Buffer.alloc(3);
		length.writeUIntBE(bytes.length, 0, 3);
		this.#send(Buffer.concat([length, bytes]));
	}

	#mixHash(bytes) {
		this.#hash = sha256(Buffer.concat([this.#hash, bytes]));
	}

	#mixKey(secret) {
		const keys = hkdf(Buffer.from(secret), 64, { salt: this.#chain, info: '' });
		[this.#chain, this.#key, this.#counter] = [keys.subarray(0, 32), keys.subarray(32), 0];
	}

	#encrypt(plain) {
		const sealed = aesEncryptGCM(plain, this.#key, nonce(this.#counter++), this.#hash);
		this.#mixHash(sealed);
		return sealed;
	}

	#decrypt(sealed) {
		const plain = aesDecryptGCM(sealed, this.#key, nonce(this.#counter++), this.#hash);
		this.#mixHash(sealed);
		return plain;
	}
}
