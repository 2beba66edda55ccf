// The guard refuses what is not loopback, by every road, and lets loopback through.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const folder = fileURLToPath(new URL('..', import.meta.url));

// 192.0.2.0/24 and .invalid are reserved for documentation: even an unguarded run would reach nobody.
const ATTEMPTS = {
	tcp: `net.connect(9, '192.0.2.1')`,
	tcpName: `net.connect(9, 'host.invalid')`,
	tcpOptions: `net.connect({ port: 9, host: '192.0.2.1' })`,
	tcp6: `net.connect({ port: 9, host: '2001:db8::1' })`,
	socket: `new net.Socket().connect(9, '192.0.2.1')`,
	unix: `net.connect('/tmp/x.sock')`,
	customLookup: `net.connect({ port: 9, host: 'localhost', lookup() {} })`,
	tls: `tls.connect({ port: 9, host: '192.0.2.1' })`,
	http: `http.get('http://192.0.2.1:9/')`,
	https: `https.get('https://192.0.2.1:9/')`,
	http2: `http2.connect('https://192.0.2.1:9/').on('error', done)`,
	fetch: `await fetch('http://192.0.2.1:9/')`,
	udp: `dgram.createSocket('udp4').send('x', 9, '192.0.2.1')`,
	lookup: `await new Promise((resolve, reject) => dns.lookup('host.invalid', error => error ? reject(error) : resolve()))`,
	lookupPromise: `await dns.promises.lookup('host.invalid')`,
	resolve: `await dns.promises.resolve4('host.invalid')`,
	resolver: `await new Promise((resolve, reject) => new dns.Resolver().resolve4('host.invalid', error => error ? reject(error) : resolve()))`,
	listenAll: `net.createServer().listen(0)`,
	child: `childProcess.spawn('true')`,
	ws: `new WebSocket('ws://192.0.2.1:9/').on('error', done)`
};

const PROGRAM = `
import { createRequire } from 'node:module';
import { setTimeout as delay } from 'node:timers/promises';
import childProcess from 'node:child_process';
import dgram from 'node:dgram'; import dns from 'node:dns'; import http from 'node:http'; import http2 from 'node:http2';
import https from 'node:https'; import net from 'node:net'; import tls from 'node:tls';
const WebSocket = createRequire(import.meta.resolve('baileys'))('ws');
const attempts = {ATTEMPTS};
const results = {};
for (const [name, attempt] of Object.entries(attempts)) {
	results[name] = await new Promise(resolve => {
		const done = error => resolve([error?.code, error?.cause?.code].includes('EGUARD') ? 'refused' : String(error));
		process.once('uncaughtException', done);
		attempt(done).then(() => delay(200)).then(() => resolve('NOT refused'), done).finally(() => process.off('uncaughtException', done));
	});
}
const server = http.createServer((_, response) => response.end('ok'));
await new Promise(resolve => server.listen(0, '127.0.0.1', resolve));
const { port } = server.address();
for (const host of ['127.0.0.1', 'localhost']) results[host] = await (await fetch(\`http://\${host}:\${port}/\`)).text();
results.named = await new Promise(resolve => http.get({ host: 'localhost', port }, response => resolve(response.statusCode)));
process.stdout.write(JSON.stringify(results));
process.exit(0);
`;

test('only loopback', async () => {
	const attempts = Object.entries(ATTEMPTS).map(([name, code]) => `${name}: async done => { ${code} }`);
	const program = PROGRAM.replace('{ATTEMPTS}', `{ ${attempts.join(',\n')} }`);
	const { stdout } = await promisify(execFile)(process.execPath, ['--import', './guard.mjs', '--input-type=module', '-e', program], { cwd: folder });
	const expected = Object.fromEntries(Object.keys(ATTEMPTS).map(name => [name, 'refused']));
	assert.deepEqual(JSON.parse(stdout), { ...expected, '127.0.0.1': 'ok', localhost: 'ok', named: 200 });
});
