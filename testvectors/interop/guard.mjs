// Preload (`node --import ./guard.mjs …`): this process can reach loopback and nothing else.
//
// Baileys knows the addresses of the real service. A test that is misconfigured must fail here, not phone out.
// TCP and TLS (so also http, https, ws, fetch) all end in net.Socket.prototype.connect; the rest is refused
// outright because no peer of ours needs it: UDP, real DNS, unix sockets, listening off loopback, child programs
// (which would run without this guard).
import childProcess from 'node:child_process';
import dgram from 'node:dgram';
import dns from 'node:dns';
import { syncBuiltinESMExports } from 'node:module';
import net from 'node:net';

const refuse = what => {
	const error = new Error(`guard: refused ${what}: only loopback is allowed`);
	error.code = 'EGUARD';
	return error;
};

const unbracket = host => String(host).replace(/^\[(.*)\]$/, '$1');
const isLoopbackAddress = host =>
	(net.isIPv4(host) && host.startsWith('127.')) || host === '::1' || /^::ffff:127\.\d+\.\d+\.\d+$/i.test(host);
const isLoopback = host => host === 'localhost' || isLoopbackAddress(host);

// --- TCP, TLS -------------------------------------------------------------------------------------------------

// The public net.connect hands an array that Node has already normalized; a direct call gives the plain arguments.
const connectOptions = args => {
	const first = Array.isArray(args[0]) ? args[0][0] : args[0];
	if (first !== null && typeof first === 'object') return first;
	if (typeof first === 'string' && Number.isNaN(Number(first))) return { path: first };
	return { port: first, host: typeof args[1] === 'string' ? args[1] : undefined };
};

const connect = net.Socket.prototype.connect;
net.Socket.prototype.connect = function (...args) {
	const { path, host, lookup } = connectOptions(args);
	if (path) throw refuse(`connection to ${path}`);
	const target = unbracket(host || 'localhost');
	if (!isLoopback(target)) throw refuse(`connection to ${target}`);
	// A caller's own resolver could send "localhost" anywhere.
	if (lookup && lookup !== dns.lookup && !net.isIP(target)) throw refuse(`custom look-up of ${target}`);
	return connect.apply(this, args);
};

const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (...args) {
	const { path, host } = connectOptions(args);
	if (path) throw refuse(`listening on ${path}`);
	if (!host || !isLoopback(unbracket(host))) throw refuse(`listening on ${host || 'every interface'}`);
	return listen.apply(this, args);
};

// --- UDP ------------------------------------------------------------------------------------------------------

for (const name of ['bind', 'connect', 'send']) {
	dgram.Socket.prototype[name] = () => {
		throw refuse('UDP');
	};
}

// --- DNS ------------------------------------------------------------------------------------------------------

// "localhost" and literals are answered here, so that not even a hosts file decides.
const answer = (host, { all, family } = {}) => {
	const name = unbracket(host ?? 'localhost');
	if (!isLoopback(name)) throw refuse(`DNS look-up of ${name}`);
	const want6 = family === 6 || family === 'IPv6';
	const address = name === 'localhost' ? (want6 ? '::1' : '127.0.0.1') : name;
	const found = { address, family: net.isIP(address) };
	return all ? [found] : found;
};
const lookupOptions = options => (typeof options === 'number' ? { family: options } : options ?? {});

dns.lookup = (host, options, callback = options) => {
	let found;
	try {
		found = answer(host, typeof options === 'function' ? {} : lookupOptions(options));
	} catch (error) {
		process.nextTick(callback, error);
		return {};
	}
	if (Array.isArray(found)) process.nextTick(callback, null, found);
	else process.nextTick(callback, null, found.address, found.family);
	return {};
};
dns.promises.lookup = async (host, options) => answer(host, lookupOptions(options));

const isQuery = name => /^(resolve|reverse|lookupService)/.test(name);
for (const module of [dns, dns.Resolver.prototype]) {
	for (const name of Object.getOwnPropertyNames(module).filter(isQuery)) {
		module[name] = (host, ...rest) => {
			const callback = rest.findLast(value => typeof value === 'function');
			if (!callback) throw refuse(`DNS query for ${host}`);
			process.nextTick(callback, refuse(`DNS query for ${host}`));
		};
	}
}
for (const module of [dns.promises, dns.promises.Resolver.prototype]) {
	for (const name of Object.getOwnPropertyNames(module).filter(isQuery)) {
		module[name] = async host => {
			throw refuse(`DNS query for ${host}`);
		};
	}
}

// --- fetch ----------------------------------------------------------------------------------------------------

// Its sockets are already caught above; refusing early gives the URL in the message.
const fetch = globalThis.fetch;
globalThis.fetch = async (input, init) => {
	const url = new URL(input instanceof Request ? input.url : input);
	const isInline = url.protocol === 'data:' || url.protocol === 'blob:';
	if (!isInline && !isLoopback(unbracket(url.hostname))) throw refuse(`fetch of ${url.origin}`);
	return fetch(input, init);
};

// --- child programs -------------------------------------------------------------------------------------------

for (const name of ['exec', 'execFile', 'execFileSync', 'execSync', 'fork', 'spawn', 'spawnSync']) {
	childProcess[name] = () => {
		throw refuse('a child program');
	};
}

syncBuiltinESMExports();
