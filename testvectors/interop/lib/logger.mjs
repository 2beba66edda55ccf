// Baileys' logger: the only place where it tells of a retry request that it sent, and of the stanzas it exchanges.
import { logLine } from './stdio.mjs';

const SENT_RETRY = 'sent retry receipt';
const XML = { 'xml send': 'out', 'recv xml': 'in' };

/** `trace` turns every stanza into an `xml` event. */
export function makeLogger(emit, { trace = false } = {}) {
	const at = level => (first, text) => {
		const fields = typeof first === 'object' && first !== null ? first : {};
		const message = text ?? fields.msg ?? (typeof first === 'string' ? first : undefined);
		if (message === SENT_RETRY) {
			const { id, from, participant } = fields.msgAttrs;
			emit('retry', { direction: 'out', id, chat: from, participant, count: fields.retryCount });
		}
		if (message in XML) emit('xml', { direction: XML[message], xml: fields.xml });
		if (level === 'warn' || level === 'error') {
			const cause = fields.err ?? fields.error ?? fields.e;
			const detail = cause?.message ?? fields.trace;
			emit(level === 'error' ? 'error' : 'warning', { source: 'baileys', message, detail });
		}
		if (level !== 'trace') logLine(level, message, fields);
	};
	const logger = {
		level: trace ? 'trace' : 'info',
		trace: trace ? at('trace') : () => {},
		debug: at('debug'),
		info: at('info'),
		warn: at('warn'),
		error: at('error'),
		child: () => logger
	};
	return logger;
}
