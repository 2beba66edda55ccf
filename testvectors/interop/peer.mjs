// Real, unmodified Baileys behind JSON lines. Protocol: README.md.
//   node --import ./guard.mjs peer.mjs
import { pick, serve, writeJson } from './lib/stdio.mjs';
import { Client } from './lib/client.mjs';
import { methods } from './lib/methods.mjs';

const clients = new Map();

const clientNamed = name => {
	if (!clients.has(name)) {
		clients.set(name, new Client((event, data) => writeJson({ event, client: name, data })));
	}
	return clients.get(name);
};

async function quit() {
	await Promise.allSettled([...clients.values()].map(client => client.close()));
	process.exit(0);
}

// Baileys leaves promises unwatched; the test decides whether such an error matters.
for (const name of ['unhandledRejection', 'uncaughtException']) {
	process.on(name, error => {
		writeJson({ event: 'error', data: { source: name, message: error?.message ?? String(error), stack: error?.stack } });
	});
}

serve(async ({ method, params = {}, client = 'main' }) => {
	if (method === 'quit') {
		// After the answer has been written.
		setImmediate(quit);
		return null;
	}
	return pick(methods, method)(clientNamed(client), params);
}, quit);
