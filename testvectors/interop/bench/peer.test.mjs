// Two Baileys clients in one peer process, over the bench server.
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { proto } from 'baileys';
import { Bench } from './server.mjs';
import { Child } from './child.mjs';

const GROUP = '120363000000000001@g.us';
let bench, peer, folder, rootKeyHex;
const accounts = {};

const settings = (client, more) => ({ authDir: join(folder, client), url: bench.url, rootKeyHex, name: client, options: { retryRequestDelayMs: 10 }, ...more });
const jid = client => `${accounts[client].pn}@s.whatsapp.net`;
const device = client => accounts[client].pnDevice();
const opened = client => peer.event('connection', ({ state }) => state === 'open', { client });

before(async () => {
	folder = await mkdtemp(join(tmpdir(), 'interop-'));
	bench = await new Bench().listen();
	rootKeyHex = Buffer.from(bench.root.public).toString('hex');
	peer = new Child('peer.mjs');
});
after(async () => {
	await peer.hangUp();
	await bench.close();
	await rm(folder, { recursive: true });
});

for (const client of ['alice', 'bob']) {
	test(`${client} pairs by QR, restarts by itself, opens`, async () => {
		await peer.call('start', settings(client), client);
		const { qr } = await peer.event('qr', () => true, { client });
		accounts[client] = bench.pair(qr);
		const close = await peer.event('connection', ({ state }) => state === 'close', { client });
		assert.deepEqual([close.code, close.willRestart], [515, true]);
		await opened(client);
		const state = await peer.call('state', {}, client);
		assert.equal(state.me.id, device(client));
		assert.equal(state.me.name, client);
		assert.ok(state.paired);
		assert.equal((await peer.call('stored', { kind: 'pre-key' }, client)).length, 812);
	});
}

const exchange = async (from, to, text) => {
	peer.forget();
	const { id } = await peer.call('sendText', { to: jid(to), text }, from);
	const message = await peer.event('message', data => data.id === id, { client: to });
	assert.equal(message.text, text);
	return message;
};
const receipt = (client, id, status) => peer.event('receipt', data => data.id === id && data.status === status, { client });

test('text both ways, delivery and read receipts', async () => {
	const message = await exchange('alice', 'bob', 'hello');
	assert.equal(message.offline, false);
	assert.equal(message.pushName, 'bench');
	await receipt('alice', message.id, 'delivered');
	await peer.call('read', { chat: message.chat, id: message.id }, 'bob');
	await receipt('alice', message.id, 'read');
	const answer = await exchange('bob', 'alice', 'hello yourself');
	await receipt('bob', answer.id, 'delivered');
});

test('raw message', async () => {
	peer.forget();
	const messageBase64 = Buffer.from(proto.Message.encode({ reactionMessage: { key: { remoteJid: jid('alice'), fromMe: true, id: 'X' }, text: '👍' } }).finish()).toString('base64');
	const { id } = await peer.call('sendRaw', { to: jid('bob'), messageBase64 }, 'alice');
	const { rawBase64 } = await peer.event('message', data => data.id === id, { client: 'bob' });
	assert.equal(proto.Message.decode(Buffer.from(rawBase64, 'base64')).reactionMessage.text, '👍');
});

test('presence', async () => {
	peer.forget();
	await peer.call('presenceSubscribe', { jid: jid('alice') }, 'bob');
	await peer.event('presence', ({ presence }) => presence === 'available', { client: 'bob' });
	await peer.call('presence', { type: 'composing', to: jid('bob') }, 'alice');
	await peer.event('presence', ({ presence }) => presence === 'composing', { client: 'bob' });
});

test('onWhatsApp, and any socket method by name', async () => {
	const numbers = [accounts.bob.pn, '15559999999'];
	assert.deepEqual(await peer.call('onWhatsApp', { numbers }, 'alice'), [{ jid: jid('bob'), exists: true }]);
	assert.deepEqual(await peer.call('call', { name: 'onWhatsApp', args: numbers }, 'alice'), [{ jid: jid('bob'), exists: true }]);
	await assert.rejects(peer.call('call', { name: 'nothing' }, 'alice'), /no method/);
});

for (const how of ['delete', 'receive', 'send']) {
	test(`corruptSession ${how}: the message arrives after a retry`, async () => {
		// A settled session in both directions, so that the damage meets a plain `msg`.
		await exchange('alice', 'bob', 'before');
		await exchange('bob', 'alice', 'before');
		await exchange('alice', 'bob', 'before');
		peer.forget();
		const [broken, other] = how === 'send' ? ['alice', 'bob'] : ['bob', 'alice'];
		const { addresses } = await peer.call('corruptSession', { jid: device(other), how }, broken);
		assert.equal(addresses.length, 1);
		const { id } = await peer.call('sendText', { to: jid('bob'), text: how }, 'alice');
		await peer.event('retry', data => data.direction === 'out' && data.id === id, { client: 'bob' });
		await peer.event('retry', data => data.direction === 'in' && data.id === id, { client: 'alice' });
		await peer.event('message', data => data.id === id && data.stub, { client: 'bob' });
		await peer.event('message', data => data.id === id && data.text === how, { client: 'bob' });
		await exchange('bob', 'alice', 'after');
	});
}

test('dropPreKeys: a pkmsg that names one is unreadable', async () => {
	const before = (await peer.call('stored', { kind: 'pre-key' }, 'bob')).length;
	assert.equal((await peer.call('dropPreKeys', {}, 'bob')).dropped, before);
	await peer.call('corruptSession', { jid: device('bob'), how: 'delete' }, 'alice');
	peer.forget();
	const { id } = await peer.call('sendText', { to: jid('bob'), text: 'no key' }, 'alice');
	await peer.event('retry', data => data.direction === 'out' && data.id === id, { client: 'bob' });
	await peer.event('message', data => data.id === id && data.text === 'no key', { client: 'bob' });
});

test('group text, receipt by member, damaged sender keys', async () => {
	bench.addGroup(GROUP, Object.values(accounts));
	const send = async text => {
		peer.forget();
		return (await peer.call('sendText', { to: GROUP, text }, 'alice')).id;
	};
	const arrives = (id, text) => peer.event('message', data => data.id === id && data.text === text, { client: 'bob' });
	let id = await send('to all');
	assert.equal((await arrives(id, 'to all')).participant, jid('alice'));
	await peer.event('receipt', data => data.id === id && data.userReceipt?.[0].userJid === jid('bob'), { client: 'alice' });
	for (const [client, how] of [['bob', 'delete'], ['bob', 'flip'], ['alice', 'flip']]) {
		// A group message that was sent again brings no sender key; the next ordinary one does.
		id = await send('settle');
		await arrives(id, 'settle');
		await peer.call('corruptSenderKey', { group: GROUP, author: device('alice'), how }, client);
		id = await send(`${client} ${how}`);
		await peer.event('retry', data => data.direction === 'out' && data.id === id, { client: 'bob' });
		await peer.event('message', data => data.id === id && data.stub, { client: 'bob' });
		await arrives(id, `${client} ${how}`);
	}
});

test('close keeps the auth; what waited arrives as offline', async () => {
	await peer.call('close', {}, 'bob');
	peer.forget();
	const { id } = await peer.call('sendText', { to: jid('bob'), text: 'while you were away' }, 'alice');
	await peer.call('start', settings('bob'), 'bob');
	const message = await peer.event('message', data => data.id === id, { client: 'bob' });
	assert.deepEqual([message.offline, message.text], [true, 'while you were away']);
});

test('pairing code is asked for', async () => {
	await peer.call('start', settings('carol'), 'carol');
	await peer.event('qr', () => true, { client: 'carol' });
	assert.deepEqual(await peer.call('pairCode', { phone: '15550009999', code: 'ABCD1234' }, 'carol'), { code: 'ABCD1234' });
});

test('trace shows the stanzas', async () => {
	await peer.call('start', settings('dave', { trace: true }), 'dave');
	const { xml } = await peer.event('xml', ({ direction }) => direction === 'in', { client: 'dave' });
	assert.match(xml, /pair-device/);
	assert.equal(bench.failure, undefined);
});
