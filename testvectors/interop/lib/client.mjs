// One Baileys client: its auth folder, its current socket, and the restart that the server demands after pairing.
import { readdir } from 'node:fs/promises';
import makeWASocket, { DisconnectReason, useMultiFileAuthState, WA_CERT_DETAILS } from 'baileys';
import { watch } from './events.mjs';
import { makeLogger } from './logger.mjs';

// What a test may pass through to Baileys' socket configuration.
const PASSED_OPTIONS = [
	'connectTimeoutMs', 'defaultQueryTimeoutMs', 'emitOwnEvents', 'enableAutoSessionRecreation', 'enableRecentMessageCache',
	'fireInitQueries', 'keepAliveIntervalMs', 'markOnlineOnConnect', 'maxMsgRetryCount', 'qrTimeout', 'retryRequestDelayMs',
	'syncFullHistory', 'appStateMacVerification', 'browser'
];

const SENT_KEPT = 1000;

export class Client {
	#emit;
	#settings;
	#saveCreds;
	#socket;
	#saving = Promise.resolve();
	#sent = new Map();

	constructor(emit) {
		this.#emit = emit;
	}

	get emit() {
		return this.#emit;
	}

	get authDir() {
		return this.#settings?.authDir;
	}

	get isStarted() {
		return Boolean(this.#socket);
	}

	/** The live socket, for methods that need one. */
	get socket() {
		if (!this.#socket) throw new Error('not started');
		return this.#socket;
	}

	get creds() {
		return this.socket.authState.creds;
	}

	/** Keeps what was sent (a message or a promise of one), so that Baileys can send it again when the other side asks; survives close and start. */
	remember(id, message) {
		this.#sent.set(id, message);
		if (this.#sent.size > SENT_KEPT) this.#sent.delete(this.#sent.keys().next().value);
	}

	async start(settings) {
		if (this.#socket) throw new Error('already started: close first');
		if (!settings.authDir || !settings.url) throw new Error('authDir and url are required');
		// The object the Noise handler reads: it holds for every client of this process.
		if (settings.rootKeyHex) WA_CERT_DETAILS.PUBLIC_KEY = Buffer.from(settings.rootKeyHex, 'hex');
		this.#settings = settings;
		await this.#connect();
		return this.state();
	}

	async #connect() {
		const { authDir, url, version, name, lidKnown = [], trace, awaitHistory, options = {} } = this.#settings;
		const auth = await useMultiFileAuthState(authDir);
		// At zero Baileys waits 20 s for a history notification after the offline queue and holds its events back.
		// History that comes later is processed all the same.
		if (!awaitHistory) auth.state.creds.accountSyncCounter ||= 1;
		const config = {
			auth: auth.state,
			waWebSocketUrl: url,
			logger: makeLogger(this.#emit, { trace }),
			// Baileys' own cache is keyed by chat, but a 1:1 retry request comes from a device jid and so misses it.
			getMessage: async ({ id }) => this.#sent.get(id),
			// Off in Baileys; without it a wrong app-state MAC of ours would pass unseen.
			appStateMacVerification: { patch: true, snapshot: true },
			...Object.fromEntries(PASSED_OPTIONS.filter(key => key in options).map(key => [key, options[key]]))
		};
		if (version) config.version = version;
		const socket = makeWASocket(config);
		this.#socket = socket;
		this.#saveCreds = auth.saveCreds;
		watch(socket, this.#emit);
		socket.ev.on('creds.update', update => {
			this.#save();
			this.#emit('creds', { fields: Object.keys(update), me: socket.authState.creds.me ?? null });
		});
		socket.ev.on('connection.update', update => this.#onConnection(socket, update, name));
		// Last: listeners must be there before anything is awaited.
		if (lidKnown.length) await socket.signalRepository.lidMapping.storeLIDPNMappings(lidKnown);
	}

	#onConnection(socket, update, name) {
		if (update.isNewLogin && name) {
			// A Baileys without a name never becomes "available", and its receipts then stay invisible to the sender.
			socket.authState.creds.me.name = name;
			this.#save();
		}
		if (update.connection === 'close' && socket === this.#socket) {
			this.#socket = undefined;
			const code = update.lastDisconnect?.error?.output?.statusCode;
			if (code === DisconnectReason.restartRequired) {
				this.#saving.then(() => this.#connect()).catch(error => this.#emit('error', { source: 'reconnect', message: error.message }));
			}
		}
	}

	#save() {
		this.#saving = this.#saving.then(this.#saveCreds).catch(error => this.#emit('error', { source: 'creds', message: error.message }));
	}

	state() {
		const creds = this.#socket?.authState.creds;
		return {
			started: this.isStarted,
			open: Boolean(this.#socket?.ws.isOpen),
			me: creds?.me ?? null,
			// Baileys sets `registered` only when it was paired by code; a signed device identity means paired either way.
			registered: Boolean(creds?.registered),
			paired: Boolean(creds?.account),
			registrationId: creds?.registrationId ?? null,
			identityKey: creds?.signedIdentityKey.public ?? null,
			nextPreKeyId: creds?.nextPreKeyId ?? null
		};
	}

	/** Ids of the records of one kind ("session", "pre-key", "sender-key"…) in the auth folder, as file names spell them. */
	async storedIds(kind) {
		const names = await readdir(this.authDir);
		return names.filter(name => name.startsWith(`${kind}-`) && name.endsWith('.json')).map(name => name.slice(kind.length + 1, -5)).sort();
	}

	async close() {
		const socket = this.#socket;
		this.#socket = undefined;
		await socket?.end(undefined);
		await this.#saving;
	}
}
