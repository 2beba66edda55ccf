// Writes one conversation of libsignal-node as a known-answer file, for tests that run without node:
//   node --import ../guard.mjs libsignal-node.mjs > libsignal-node.json
// Every step holds the reader's record before and after, so a reader that imports the record must get the
// plaintext; the first steps need only the keys. Keys are fresh at each run (libsignal-node takes no seed).
import { writeJson } from '../lib/stdio.mjs';
import { Party } from '../lib/party.mjs';

const to64 = text => Buffer.from(text).toString('base64');
const GROUP = 'team@g.us';

async function conversation(preKeyId) {
	const parties = { alice: new Party(), bob: new Party() };
	parties.bob.generatePreKeys(preKeyId ?? 1, 1);
	parties.bob.generateSignedPreKey(1);
	const secrets = { alice: parties.alice.secrets(), bob: parties.bob.secrets() };
	const bundle = parties.bob.bundle({ signedPreKeyId: 1, preKeyId });
	await parties.alice.startSession('bob.1', bundle);

	const steps = [];
	const write = async (from, to, text) => ({ from, to, plaintextBase64: to64(text), ...(await parties[from].encrypt(`${to}.1`, to64(text))) });
	const read = async message => {
		const { from, to, type, ciphertextBase64, plaintextBase64 } = message;
		const recordBefore = parties[to].session(`${from}.1`);
		const got = await parties[to].decrypt(`${from}.1`, type, ciphertextBase64);
		if (got.plaintextBase64 !== plaintextBase64) throw new Error('libsignal-node disagrees with itself');
		steps.push({ ...message, recordBefore, recordAfter: parties[to].session(`${from}.1`) });
	};

	await read(await write('alice', 'bob', 'first'));
	await read(await write('alice', 'bob', 'second, unanswered'));
	await read(await write('bob', 'alice', 'answer'));
	const late = [];
	for (const text of ['0', '1', '2']) late.push(await write('alice', 'bob', text));
	for (const index of [2, 0]) await read(late[index]);
	await read(await write('bob', 'alice', 'ratchet'));
	await read(await write('alice', 'bob', ''));
	// Read last: its key was skipped in a chain that has been closed since.
	await read(late[1]);
	return { secrets, bundle, steps };
}

async function senderKeys() {
	const [writer, reader] = [new Party(), new Party()];
	const { distributionBase64 } = await writer.createSenderKey(GROUP, 'writer.1');
	await reader.processSenderKey(GROUP, 'writer.1', distributionBase64);
	const messages = [];
	for (const text of ['0', '1', '2', '3']) messages.push({ plaintextBase64: to64(text), ...(await writer.groupEncrypt(GROUP, 'writer.1', to64(text))) });
	const readOrder = [0, 2, 1, 3];
	for (const index of readOrder) {
		const got = await reader.groupDecrypt(GROUP, 'writer.1', messages[index].ciphertextBase64);
		if (got.plaintextBase64 !== messages[index].plaintextBase64) throw new Error('the group classes disagree with themselves');
	}
	return { distributionBase64, messages, readOrder };
}

writeJson({
	source: 'libsignal-node 6.0.0 and the sender-key classes of baileys 7.0.0-rc14',
	withPreKey: await conversation(42),
	withoutPreKey: await conversation(undefined),
	senderKeys: await senderKeys()
});
