// What a test can ask of a client. Each entry: (client, params) -> result.
import { downloadContentFromMessage, downloadMediaMessage, generateMessageIDV2, proto } from 'baileys';
import { corruptSenderKey, corruptSession, dropPreKeys, showSession } from './damage.mjs';

const decodeMessage = base64 => proto.Message.decode(Buffer.from(base64, 'base64'));

const send = async (client, to, content, { id, quoted, ephemeralExpiration } = {}) => {
	const options = { messageId: id ?? generateMessageIDV2(client.creds.me.id) };
	if (ephemeralExpiration) options.ephemeralExpiration = ephemeralExpiration;
	if (quoted) options.quoted = { key: quoted.key, message: decodeMessage(quoted.messageBase64) };
	const sending = client.socket.sendMessage(to, content, options);
	// Before it is out: a retry request can overtake the end of the send.
	client.remember(options.messageId, sending.then(sent => sent?.message, () => undefined));
	const sent = await sending;
	// A setting of the chat ({disappearingMessagesInChat}) makes no message.
	if (!sent) return null;
	return { id: sent.key.id, messageBase64: Buffer.from(proto.Message.encode(sent.message).finish()).toString('base64') };
};

const collect = async stream => {
	const chunks = [];
	for await (const chunk of stream) chunks.push(chunk);
	return Buffer.concat(chunks);
};

export const methods = {
	start: (client, params) => client.start(params),
	state: client => client.state(),
	close: client => client.close(),
	logout: client => client.socket.logout(),
	pairCode: async (client, { phone, code }) => ({ code: await client.socket.requestPairingCode(phone, code) }),

	sendText: (client, { to, text, ...options }) => send(client, to, { text }, options),
	send: (client, { to, content, ...options }) => send(client, to, content, options),
	sendRaw: async (client, { to, messageBase64, id, attributes, participant }) => {
		const messageId = id ?? generateMessageIDV2(client.creds.me.id);
		const message = decodeMessage(messageBase64);
		client.remember(messageId, message);
		await client.socket.relayMessage(to, message, {
			messageId,
			...(attributes && { additionalAttributes: attributes }),
			...(participant && { participant })
		});
		return { id: messageId };
	},
	read: (client, { chat, id, ids = [id], participant }) =>
		client.socket.readMessages(ids.map(one => ({ remoteJid: chat, id: one, participant, fromMe: false }))),
	sendReceipt: (client, { chat, participant, ids, type }) => client.socket.sendReceipt(chat, participant, ids, type),

	presence: (client, { type, to }) => client.socket.sendPresenceUpdate(type, to),
	presenceSubscribe: (client, { jid }) => client.socket.presenceSubscribe(jid),

	onWhatsApp: (client, { numbers }) => client.socket.onWhatsApp(...numbers),
	groupMetadata: (client, { jid }) => client.socket.groupMetadata(jid),
	groupCreate: (client, { subject, participants }) => client.socket.groupCreate(subject, participants),
	groupParticipants: (client, { jid, participants, action }) => client.socket.groupParticipantsUpdate(jid, participants, action),
	groupLeave: (client, { jid }) => client.socket.groupLeave(jid),

	downloadMedia: async (client, { messageBase64 }) => {
		const bytes = await downloadMediaMessage({ key: {}, message: decodeMessage(messageBase64) }, 'buffer', {});
		return { base64: bytes.toString('base64') };
	},
	downloadContent: async (client, { mediaKeyBase64, url, directPath, kind }) => {
		const stream = await downloadContentFromMessage({ mediaKey: Buffer.from(mediaKeyBase64, 'base64'), url, directPath }, kind);
		return { base64: (await collect(stream)).toString('base64') };
	},

	// Anything else a Baileys socket offers: {"name":"updateProfileName","args":["x"]}.
	call: (client, { name, args = [] }) => {
		if (typeof client.socket[name] !== 'function') throw new Error(`the socket has no method ${name}`);
		return client.socket[name](...args);
	},

	stored: (client, { kind }) => client.storedIds(kind),
	session: (client, { jid }) => showSession(client, jid),
	corruptSession: (client, { jid, how }) => corruptSession(client, jid, how),
	corruptSenderKey: (client, { group, author, how }) => corruptSenderKey(client, group, author, how),
	dropPreKeys: client => dropPreKeys(client)
};
