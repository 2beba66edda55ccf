// Two oracle processes talk to each other: all that passes between them is JSON.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Child } from './child.mjs';

const to64 = text => Buffer.from(text).toString('base64');
const from64 = text => Buffer.from(text, 'base64').toString();

let alice, bob;
before(() => {
	alice = new Child('signal-oracle.mjs');
	bob = new Child('signal-oracle.mjs');
});
after(() => Promise.all([alice.hangUp(), bob.hangUp()]));

const say = async (sender, receiver, text, expectedType) => {
	const [from, fromName, toProcess, toName] = [sender[0], sender[1], receiver[0], receiver[1]];
	const sent = await from.call('encrypt', { party: fromName, peer: `${toName}.1`, plaintextBase64: to64(text) });
	assert.equal(sent.type, expectedType);
	const got = await toProcess.call('decrypt', { party: toName, peer: `${fromName}.1`, ...sent });
	assert.equal(from64(got.plaintextBase64), text);
	return sent;
};

const meet = async (suffix, { preKeyId }) => {
	const a = [alice, `alice${suffix}`];
	const b = [bob, `bob${suffix}`];
	await alice.call('create', { party: a[1] });
	await bob.call('create', { party: b[1] });
	await bob.call('generatePreKeys', { party: b[1], first: 7, count: 3 });
	await bob.call('generateSignedPreKey', { party: b[1], id: 4 });
	const bundle = await bob.call('bundle', { party: b[1], signedPreKeyId: 4, preKeyId });
	await alice.call('startSession', { party: a[1], peer: `${b[1]}.1`, bundle });
	return { a, b, bundle };
};

for (const preKeyId of [8, undefined]) {
	test(`1:1 both ways ${preKeyId ? 'with' : 'without'} a one-time prekey`, async () => {
		const { a, b } = await meet(preKeyId ?? 'none', { preKeyId });
		await say(a, b, 'first', 'pkmsg');
		await say(a, b, 'second, still unanswered', 'pkmsg');
		await say(b, a, 'answer', 'msg');
		await say(a, b, 'ratchet', 'msg');
		await say(b, a, 'ratchet again', 'msg');
		if (preKeyId) assert.equal(await bob.call('hasPreKey', { party: b[1], id: preKeyId }), false);
		const record = await alice.call('session', { party: a[1], peer: `${b[1]}.1` });
		assert.equal(Object.keys(record._sessions).length, 1);
		// An exported session works in another process.
		await bob.call('create', { party: 'twin', identityPrivateBase64: (await alice.call('secrets', { party: a[1] })).identityPrivateBase64 });
		await bob.call('putSession', { party: 'twin', peer: `${b[1]}.1`, session: record });
		const sent = await bob.call('encrypt', { party: 'twin', peer: `${b[1]}.1`, plaintextBase64: to64('from the twin') });
		const got = await bob.call('decrypt', { party: b[1], peer: `${a[1]}.1`, ...sent });
		assert.equal(from64(got.plaintextBase64), 'from the twin');
	});
}

test('out of order, replay, changed ciphertext', async () => {
	const { a, b } = await meet('order', { preKeyId: 7 });
	await say(a, b, 'hello', 'pkmsg');
	await say(b, a, 'hi', 'msg');
	const sent = [];
	for (const text of ['0', '1', '2']) sent.push(await alice.call('encrypt', { party: a[1], peer: `${b[1]}.1`, plaintextBase64: to64(text) }));
	const read = message => bob.call('decrypt', { party: b[1], peer: `${a[1]}.1`, ...message });
	for (const index of [2, 0, 1]) assert.equal(from64((await read(sent[index])).plaintextBase64), String(index));
	await assert.rejects(read(sent[1]), /No matching sessions/);
	const changed = Buffer.from((await alice.call('encrypt', { party: a[1], peer: `${b[1]}.1`, plaintextBase64: to64('x') })).ciphertextBase64, 'base64');
	changed[changed.length - 1] ^= 1;
	await assert.rejects(read({ type: 'msg', ciphertextBase64: changed.toString('base64') }), /No matching sessions/);
});

test('sender keys', async () => {
	const group = 'team@g.us';
	for (const [process, party] of [[alice, 'ga'], [bob, 'gb']]) await process.call('create', { party });
	const { distributionBase64 } = await alice.call('createSenderKey', { party: 'ga', group, sender: 'ga.1' });
	await bob.call('processSenderKey', { party: 'gb', group, sender: 'ga.1', distributionBase64 });
	const sent = [];
	for (const text of ['0', '1', '2']) sent.push(await alice.call('groupEncrypt', { party: 'ga', group, sender: 'ga.1', plaintextBase64: to64(text) }));
	const read = message => bob.call('groupDecrypt', { party: 'gb', group, sender: 'ga.1', ...message });
	for (const index of [1, 0, 2]) assert.equal(from64((await read(sent[index])).plaintextBase64), String(index));
	await assert.rejects(read(sent[2]), /old counter/);
	const forged = Buffer.from(sent[0].ciphertextBase64, 'base64');
	forged[forged.length - 1] ^= 1;
	await assert.rejects(read({ ciphertextBase64: forged.toString('base64') }), /Invalid signature/);
	const [state] = await bob.call('senderKey', { party: 'gb', group, sender: 'ga.1' });
	assert.ok(state.senderKeyId > 0);
});

test('primitives', async () => {
	const [one, two] = [await alice.call('generateKeyPair'), await bob.call('generateKeyPair')];
	const left = await alice.call('agree', { privateBase64: one.privateBase64, publicBase64: two.publicBase64 });
	const right = await bob.call('agree', { privateBase64: two.privateBase64, publicBase64: one.publicBase64 });
	assert.deepEqual(left, right);
	assert.deepEqual(await alice.call('publicKey', { privateBase64: one.privateBase64 }), { publicBase64: one.publicBase64 });
	const messageBase64 = to64('signed');
	const { signatureBase64 } = await alice.call('sign', { privateBase64: one.privateBase64, messageBase64 });
	const verify = async changes => (await bob.call('verify', { publicBase64: one.publicBase64, messageBase64, signatureBase64, ...changes })).valid;
	assert.equal(await verify({}), true);
	assert.equal(await verify({ messageBase64: to64('other') }), false);
});

test('errors are answers', async () => {
	await assert.rejects(alice.call('constructor'), /unknown method/);
	await assert.rejects(alice.call('encrypt', { party: 'nobody', peer: 'x.1', plaintextBase64: '' }), /no party/);
});
