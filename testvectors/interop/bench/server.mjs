// The smallest loopback server on which peer.mjs can pair, log in and talk. A bench for this folder only: the
// product is tested against its own simulator. Every account has exactly one companion, device 1, and no phone.
import { createRequire } from 'node:module';
import { Curve, getBinaryNodeChild, getBinaryNodeChildren, hmacSign, jidDecode, proto } from 'baileys';
import { ServerNoise } from './noise.mjs';

const { WebSocketServer } = createRequire(import.meta.resolve('baileys'))('ws');

const SERVER = 's.whatsapp.net';
const FROM = `@${SERVER}`;
const node = (tag, attrs = {}, content) => ({ tag, attrs, content });
const now = () => String(Math.floor(Date.now() / 1000));

class Account {
	constructor(number) {
		this.pn = `1555000${number}`;
		this.lid = `9990000000${number}`;
		this.phoneKey = Curve.generateKeyPair();
		this.queue = [];
		this.preKeys = [];
	}

	pnDevice = () => `${this.pn}:1@${SERVER}`;
	lidDevice = () => `${this.lid}:1@lid`;
	owns = jid => [this.pn, this.lid].includes(jidDecode(jid)?.user);
}

export class Bench {
	root = Curve.generateKeyPair();
	accounts = [];
	groups = new Map();
	#unpaired = new Map();
	#nextId = 1;

	async listen() {
		this.server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
		await new Promise(resolve => this.server.once('listening', resolve));
		this.url = `ws://127.0.0.1:${this.server.address().port}/ws/chat`;
		this.server.on('connection', socket => this.#accept(socket));
		return this;
	}

	close() {
		for (const socket of this.server.clients) socket.terminate();
		return new Promise(resolve => this.server.close(resolve));
	}

	/** Scans a QR text with a new account's phone. */
	pair(qr) {
		const [ref, , identity, secret] = qr.split('#')[1].split(',');
		const account = new Account(String(this.accounts.length + 1).padStart(4, '0'));
		this.accounts.push(account);
		const details = Buffer.from(proto.ADVDeviceIdentity.encode({ rawId: 1, timestamp: Number(now()), keyIndex: 1 }).finish());
		const signed = proto.ADVSignedDeviceIdentity.encode({
			details,
			accountSignatureKey: account.phoneKey.public,
			accountSignature: Curve.sign(account.phoneKey.private, Buffer.concat([Buffer.from([6, 0]), details, Buffer.from(identity, 'base64')]))
		}).finish();
		const identityHmac = proto.ADVSignedDeviceIdentityHMAC.encode({ details: signed, hmac: hmacSign(signed, Buffer.from(secret, 'base64')) }).finish();
		this.#unpaired.get(ref).send(node('iq', { from: FROM, type: 'set', id: this.#id(), t: now() }, [
			node('pair-success', {}, [
				node('device-identity', {}, identityHmac),
				node('device', { jid: account.pnDevice(), lid: account.lidDevice() }),
				node('platform', { name: 'android' })
			])
		]));
		return account;
	}

	addGroup(jid, accounts) {
		this.groups.set(jid, accounts);
	}

	#id = () => `bench-${this.#nextId++}`;

	#accept(socket) {
		const noise = new ServerNoise(this.root, bytes => socket.send(bytes));
		const connection = { send: one => noise.sendNode(one), end: () => socket.close() };
		socket.on('close', () => {
			if (connection.account?.connection === connection) connection.account.connection = undefined;
		});
		// One at a time: decoding is asynchronous, the counters are not.
		let work = Promise.resolve();
		socket.on('message', bytes => {
			work = work.then(async () => {
				for (const { login, node: received } of await noise.receive(bytes)) {
					if (login) this.#login(connection, login);
					else this.#receive(connection, received);
				}
			}).catch(error => {
				this.failure = error;
				socket.terminate();
			});
		});
	}

	#login(connection, { username, devicePairingData }) {
		if (devicePairingData) {
			const ref = `ref-${this.#id()}`;
			this.#unpaired.set(ref, connection);
			connection.send(node('iq', { from: FROM, type: 'set', id: this.#id(), xmlns: 'md' }, [node('pair-device', {}, [node('ref', {}, Buffer.from(ref))])]));
			return;
		}
		connection.account = this.accounts.find(account => account.pn === String(username));
		connection.account.connection = connection;
		connection.send(node('success', { t: now(), lid: connection.account.lidDevice() }));
	}

	#receive(connection, received) {
		const { tag, attrs } = received;
		if (tag === 'iq') {
			this.#iq(connection, received);
		} else if (tag === 'message') {
			connection.send(node('ack', { class: 'message', id: attrs.id, from: attrs.to }));
			this.#message(connection.account, received);
		} else if (tag === 'receipt') {
			connection.send(node('ack', { class: 'receipt', id: attrs.id, from: attrs.to }));
			this.#receipt(connection.account, received);
		} else if (tag === 'presence' || tag === 'chatstate') {
			this.#presence(connection.account, received);
		}
	}

	#iq(connection, request) {
		const { id, type, xmlns } = request.attrs;
		if (type === 'result') {
			if (getBinaryNodeChild(request, 'pair-device-sign')) {
				connection.send(node('stream:error', { code: '515' }));
				connection.end();
			}
			return;
		}
		const child = request.content?.[0];
		const reply = content => connection.send(node('iq', { from: FROM, type: 'result', id }, content));
		const { account } = connection;
		switch (`${xmlns} ${type} ${child?.tag}`) {
			case 'encrypt get count':
				return reply([node('count', { value: String(account.preKeys.length) })]);
			case 'encrypt set registration':
				account.bundle = Object.fromEntries(request.content.map(one => [one.tag, one]));
				account.preKeys.push(...account.bundle.list.content);
				return reply();
			case 'encrypt get digest':
				return reply([node('digest', {}, [account.bundle.registration, account.bundle.type, account.bundle.identity])]);
			case 'encrypt get key':
				return reply([node('list', {}, child.content.map(one => this.#bundle(one.attrs.jid)))]);
			case 'passive set active':
				reply();
				this.#flush(connection, account.queue.splice(0));
				return;
			case 'usync get usync':
				return reply([node('usync', {}, [node('list', {}, this.#usync(child))])]);
			case 'w:g2 get query':
				return reply([this.#groupInfo(request.attrs.to)]);
			case 'abt get props':
				return reply([node('props', { hash: '1' })]);
			case 'privacy get privacy':
				return reply([node('privacy', {}, [node('category', { name: 'readreceipts', value: 'all' })])]);
			case 'blocklist get undefined':
				return reply([node('list')]);
			default:
				return reply();
		}
	}

	// Until the closing count (or a live stanza, or 30 s) Baileys holds the events of offline messages back.
	#flush(connection, waiting) {
		for (const stanza of waiting) connection.send(stanza);
		connection.send(node('ib', { from: FROM }, [node('offline', { count: String(waiting.length) })]));
	}

	#owner = jid => this.accounts.find(account => account.owns(jid));

	#bundle(jid) {
		const account = this.#owner(jid);
		// There are no phones, so device 0 has no keys; Baileys asks for them all the same.
		if (!account?.bundle || jidDecode(jid).device !== 1) return node('user', { jid }, [node('error', { code: '404', text: 'item-not-found' })]);
		const { registration, type, identity, skey } = account.bundle;
		const key = account.preKeys.shift();
		return node('user', { jid }, [registration, type, identity, skey, ...(key ? [key] : [])]);
	}

	#usync(request) {
		const users = getBinaryNodeChildren(getBinaryNodeChild(request, 'list'), 'user');
		return users.flatMap(user => {
			const phone = getBinaryNodeChild(user, 'contact')?.content?.toString().replace('+', '');
			const account = this.#owner(user.attrs.jid ?? `${phone}@${SERVER}`);
			if (!account) return [];
			return [node('user', { jid: user.attrs.jid ?? `${account.pn}@${SERVER}` }, [
				node('devices', {}, [node('device-list', {}, [node('device', { id: '1', 'key-index': '1' })])]),
				node('contact', { type: 'in' }),
				...(user.attrs.jid?.endsWith('@lid') ? [] : [node('lid', { val: `${account.lid}@lid` })])
			])];
		});
	}

	#groupInfo(jid) {
		const members = this.groups.get(jid).map(account => node('participant', { jid: `${account.pn}@${SERVER}`, lid: `${account.lid}@lid` }));
		return node('group', { id: jidDecode(jid).user, subject: 'bench', creation: '1', creator: members[0].attrs.jid, addressing_mode: 'pn' }, members);
	}

	#message(sender, { attrs, content }) {
		const participants = getBinaryNodeChild({ content }, 'participants')?.content ?? [];
		const direct = content.filter(({ tag }) => tag === 'enc');
		const rest = content.filter(({ tag }) => tag === 'device-identity');
		const group = this.groups.get(attrs.to);
		const targets = group?.filter(account => account !== sender) ?? [...new Set([attrs.to, ...participants.map(one => one.attrs.jid)].map(this.#owner))];
		for (const account of targets) {
			const own = participants.filter(one => account.owns(one.attrs.jid)).flatMap(one => one.content);
			const from = group ? { from: attrs.to, participant: sender.pnDevice(), addressing_mode: 'pn' } : { from: sender.pnDevice(), sender_lid: sender.lidDevice() };
			// Baileys puts the group message first; its key must come before it.
			if (own.length || direct.length) this.#deliver(account, node('message', { ...from, id: attrs.id, type: attrs.type, t: now(), notify: 'bench' }, [...own, ...direct, ...rest]));
		}
	}

	#receipt(sender, { attrs, content }) {
		const { to, ...kept } = attrs;
		const isGroup = this.groups.has(to);
		const target = isGroup ? this.#owner(attrs.participant) : this.#owner(to);
		const from = isGroup ? { from: to, participant: sender.pnDevice() } : { from: attrs.type === 'retry' ? sender.pnDevice() : `${sender.pn}@${SERVER}` };
		delete kept.participant;
		this.#deliver(target, node('receipt', { ...kept, ...from, t: now() }, content));
	}

	#presence(sender, { tag, attrs, content }) {
		const from = `${sender.pn}@${SERVER}`;
		if (tag === 'chatstate') this.#owner(attrs.to)?.connection?.send(node('chatstate', { from }, content));
		else if (attrs.type === 'subscribe') sender.connection.send(node('presence', { from: attrs.to, type: 'available' }));
	}

	#deliver(account, stanza) {
		if (account.connection) account.connection.send(stanza);
		else account.queue.push({ ...stanza, attrs: { ...stanza.attrs, offline: '0' } });
	}
}
