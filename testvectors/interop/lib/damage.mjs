// Deliberate damage to a client's Signal state, so that the next ciphertext in one direction cannot be read.
//
// Everything goes through the key store that Baileys itself uses (no cache lies in between), so it takes effect
// at once, and only the auth folder is touched.

const SENDING = 1;

const flipped = base64 => {
	const bytes = Buffer.from(base64, 'base64');
	bytes[0] ^= 0x01;
	return bytes.toString('base64');
};

/** A session may lie under the phone number's address or, once Baileys knows the mapping, under the LID's. */
async function addressesOf(client, jid) {
	const { signalRepository } = client.socket;
	const lid = jid.endsWith('@s.whatsapp.net') ? await signalRepository.lidMapping.getLIDForPN(jid) : undefined;
	return [jid, lid].filter(Boolean).map(one => signalRepository.jidToSignalProtocolAddress(one));
}

async function sessionsOf(client, jid) {
	const addresses = await addressesOf(client, jid);
	const found = await client.socket.authState.keys.get('session', addresses);
	return Object.fromEntries(Object.entries(found).filter(([, record]) => record));
}

export const showSession = (client, jid) => sessionsOf(client, jid);

const SESSION_DAMAGE = {
	// No session at all. A plain `msg` to Baileys fails; its next send fetches a bundle and makes a new session.
	delete: () => null,
	// The next `msg` to Baileys fails its MAC: on the chain in use, and after a ratchet step (the root key too).
	// What Baileys sends is untouched until it steps the ratchet itself, which only a readable message makes it do.
	receive: record => {
		for (const session of Object.values(record._sessions)) {
			session.currentRatchet.rootKey = flipped(session.currentRatchet.rootKey);
			for (const chain of Object.values(session._chains)) {
				if (chain.chainType === SENDING) continue;
				if (chain.chainKey.key) chain.chainKey.key = flipped(chain.chainKey.key);
				for (const counter of Object.keys(chain.messageKeys)) chain.messageKeys[counter] = flipped(chain.messageKeys[counter]);
			}
		}
		return record;
	},
	// What Baileys sends next carries a wrong MAC, so the other side has to ask for a retry. Receiving still works
	// as long as the other side stays on its chain.
	send: record => {
		for (const session of Object.values(record._sessions)) {
			for (const chain of Object.values(session._chains)) {
				if (chain.chainType === SENDING) chain.chainKey.key = flipped(chain.chainKey.key);
			}
		}
		return record;
	}
};

export async function corruptSession(client, jid, how) {
	if (!Object.hasOwn(SESSION_DAMAGE, how)) throw new Error(`how must be one of ${Object.keys(SESSION_DAMAGE)}`);
	const { keys } = client.socket.authState;
	// One write for all addresses, under the lock Baileys takes for this jid.
	return keys.transaction(async () => {
		const records = await sessionsOf(client, jid);
		const session = Object.fromEntries(Object.entries(records).map(([address, record]) => [address, SESSION_DAMAGE[how](record)]));
		if (!Object.keys(session).length) throw new Error(`no session with ${jid}`);
		await keys.set({ session });
		return { addresses: Object.keys(session) };
	}, jid);
}

/**
 * `author` is a device jid; its own jid damages what Baileys sends to the group, another one what it can read.
 * delete: forgets the sender key. flip: flips a bit of every chain seed, so the signature stays right, the text does not.
 */
export async function corruptSenderKey(client, group, author, how) {
	if (how !== 'delete' && how !== 'flip') throw new Error('how must be delete or flip');
	const { keys } = client.socket.authState;
	return keys.transaction(async () => {
		const names = (await addressesOf(client, author)).map(address => {
			const dot = address.lastIndexOf('.');
			return `${group}::${address.slice(0, dot)}::${address.slice(dot + 1)}`;
		});
		const found = Object.entries(await keys.get('sender-key', names)).filter(([, record]) => record);
		if (!found.length) throw new Error(`no sender key of ${author} in ${group}`);
		const changed = found.map(([name, record]) => [name, how === 'delete' ? null : withFlippedSeeds(record)]);
		await keys.set({ 'sender-key': Object.fromEntries(changed) });
		return { names: found.map(([name]) => name) };
	}, group);
}

function withFlippedSeeds(record) {
	const states = JSON.parse(Buffer.from(record).toString('utf8'));
	// Here Baileys stores bytes as JSON arrays, not as base64.
	for (const { senderChainKey } of states) senderChainKey.seed.data[0] ^= 0x01;
	return Buffer.from(JSON.stringify(states));
}

/** Deletes every one-time prekey: a `pkmsg` that names one of them then fails with "Invalid PreKey ID". */
export async function dropPreKeys(client) {
	const ids = await client.storedIds('pre-key');
	await client.socket.authState.keys.set({ 'pre-key': Object.fromEntries(ids.map(id => [id, null])) });
	return { dropped: ids.length };
}
