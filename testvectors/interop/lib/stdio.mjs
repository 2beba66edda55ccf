// JSON lines over stdin and stdout. Import this first: it takes stdout away from everybody else.
import { createInterface } from 'node:readline';

const verbose = Boolean(process.env.INTEROP_LOG);
const writeLine = process.stdout.write.bind(process.stdout);

// A stray line on stdout would corrupt the protocol.
process.stdout.write = process.stderr.write.bind(process.stderr);

// libsignal prints whole sessions, private keys included, through console. They are dropped unless somebody
// who debugs asks for them.
for (const name of ['debug', 'dir', 'error', 'info', 'log', 'table', 'trace', 'warn']) {
	console[name] = verbose ? (...args) => process.stderr.write(`${args.map(String).join(' ')}\n`) : () => {};
}

/** Replacer and reviver: bytes travel as {"type":"Buffer","data":"<base64>"}, 64-bit integers as strings. */
function replacer(key, value) {
	// Buffer and Long have a toJSON, which JSON.stringify has already called; `this` still holds the original.
	const original = this[key];
	if (original instanceof Uint8Array) {
		return { type: 'Buffer', data: Buffer.from(original).toString('base64') };
	}
	if (typeof original === 'bigint' || original?.__isLong__) return original.toString();
	if (original instanceof Error) return { message: original.message, code: original.output?.statusCode ?? original.code };
	if (original instanceof Map) return Object.fromEntries(original);
	if (original instanceof Set) return [...original];
	return value;
}

const reviver = (_, value) =>
	value?.type === 'Buffer' && typeof value.data === 'string' ? Buffer.from(value.data, 'base64') : value;

export const writeJson = value => writeLine(`${JSON.stringify(value, replacer)}\n`);

export const logLine = (level, ...args) => {
	if (verbose) process.stderr.write(`${level} ${JSON.stringify(args, replacer)}\n`);
};

/**
 * Serves requests `{"id","method","params"}` until stdin ends, then calls `onEnd`.
 * Requests run concurrently: a send that waits for a slow server must not block the next request.
 */
export function serve(handle, onEnd) {
	const lines = createInterface({ input: process.stdin, crlfDelay: Infinity });
	lines.on('line', async line => {
		if (!line.trim()) return;
		let id = null;
		try {
			const request = JSON.parse(line, reviver);
			id = request.id ?? null;
			writeJson({ id, result: (await handle(request)) ?? null });
		} catch (error) {
			writeJson({ id, error: { message: error?.message ?? String(error), code: error?.output?.statusCode ?? error?.code } });
		}
	});
	// A driver that died must not leave us behind.
	lines.on('close', onEnd);
}

/** Looks a method up among the object's own entries only, so that "constructor" is no method. */
export function pick(methods, name) {
	if (!Object.hasOwn(methods, name)) throw new Error(`unknown method ${name}`);
	return methods[name];
}
