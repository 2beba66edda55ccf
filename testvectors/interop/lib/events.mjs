// Baileys' events, told as our notifications.
import { DisconnectReason, extractMessageContent, proto } from 'baileys';

const STATUS = ['error', 'pending', 'server', 'delivered', 'read', 'played'];
const DELIVERED = 3;

// Reported as they are, under `other`: enough to assert on, not worth a format of their own.
const PASSED_EVENTS = [
	'blocklist.update', 'call', 'chats.delete', 'chats.lock', 'chats.update', 'chats.upsert', 'contacts.update',
	'contacts.upsert', 'group-participants.update', 'group.join-request', 'groups.update', 'groups.upsert', 'labels.association',
	'labels.edit', 'lid-mapping.update', 'messages.delete', 'messages.media-update', 'messages.reaction', 'messaging-history.set',
	'settings.update'
];

const textOf = message => {
	const content = extractMessageContent(message);
	return content?.conversation || content?.extendedTextMessage?.text || undefined;
};

const toNumber = value => (value === null || value === undefined ? undefined : Number(value));

const keyFields = key => ({
	chat: key.remoteJid,
	chatAlt: key.remoteJidAlt,
	id: key.id,
	fromMe: Boolean(key.fromMe),
	participant: key.participant || undefined,
	participantAlt: key.participantAlt
});

export function watch(socket, emit) {
	const { ev, ws } = socket;
	const offlineIds = new Set();

	ev.on('connection.update', update => {
		if (update.qr) emit('qr', { qr: update.qr });
		if (update.connection === 'close') {
			const { error } = update.lastDisconnect ?? {};
			const code = error?.output?.statusCode;
			emit('connection', { state: 'close', code, reason: error?.message, willRestart: code === DisconnectReason.restartRequired });
		} else if (update.connection) {
			emit('connection', { state: update.connection });
		}
		if (update.isNewLogin) emit('paired', { me: socket.authState.creds.me });
		if (update.receivedPendingNotifications) emit('offline', { done: true });
	});

	// Only the stanza says whether a message waited for us; Baileys' own event does not keep it.
	ws.on('CB:message', ({ attrs }) => {
		if (attrs.offline !== undefined) offlineIds.add(attrs.id);
	});

	ev.on('messages.upsert', ({ messages, type, requestId }) => {
		for (const info of messages) {
			const { key, message, status, userReceipt } = info;
			emit('message', {
				...keyFields(key),
				type,
				offline: offlineIds.delete(key.id),
				text: textOf(message),
				rawBase64: message ? Buffer.from(proto.Message.encode(message).finish()).toString('base64') : undefined,
				pushName: info.pushName || undefined,
				messageTimestamp: toNumber(info.messageTimestamp),
				stub: info.messageStubType ? { type: info.messageStubType, parameters: info.messageStubParameters } : undefined,
				requestId
			});
			// A receipt that overtakes the message's own event is merged into it and comes in no other way.
			if (key.fromMe && (status >= DELIVERED || userReceipt?.length)) receipt(key, { status, userReceipt }, 'upsert');
		}
	});

	ev.on('messages.update', updates => {
		for (const { key, update } of updates) {
			if (update.status !== undefined && update.status !== null) receipt(key, update, 'update');
			else emit('other', { name: 'messages.update', data: { key, update } });
		}
	});

	ev.on('message-receipt.update', updates => {
		for (const { key, receipt: one } of updates) receipt(key, { userReceipt: [one] }, 'receipt');
	});

	function receipt(key, { status, userReceipt, messageStubParameters }, via) {
		emit('receipt', {
			...keyFields(key),
			status: STATUS[status],
			userReceipt: userReceipt?.map(one => ({
				userJid: one.userJid,
				delivered: toNumber(one.receiptTimestamp),
				read: toNumber(one.readTimestamp),
				played: toNumber(one.playedTimestamp)
			})),
			error: messageStubParameters ?? undefined,
			via
		});
	}

	// The stanza itself: types that make no event of Baileys' (inactive, sender, retry…) are seen here only.
	ws.on('CB:receipt', ({ attrs, content }) => {
		emit('receiptStanza', { attrs });
		if (attrs.type === 'retry') {
			const children = Array.isArray(content) ? content : [];
			const retry = children.find(child => child.tag === 'retry');
			const hasKeys = children.some(child => child.tag === 'keys');
			emit('retry', { direction: 'in', id: attrs.id, chat: attrs.from, participant: attrs.participant, count: toNumber(retry?.attrs.count), hasKeys });
		}
	});

	ev.on('presence.update', ({ id, presences }) => {
		for (const [participant, presence] of Object.entries(presences)) {
			emit('presence', { chat: id, participant, presence: presence.lastKnownPresence, lastSeen: presence.lastSeen });
		}
	});

	for (const name of PASSED_EVENTS) ev.on(name, data => emit('other', { name, data }));
}
