// Starts one of our programs under the guard and speaks its JSON lines.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const folder = fileURLToPath(new URL('..', import.meta.url));

export class Child {
	#process;
	#next = 1;
	#answers = new Map();
	#waiting = new Set();
	events = [];

	constructor(program) {
		this.#process = spawn(process.execPath, ['--import', './guard.mjs', program], { cwd: folder, stdio: ['pipe', 'pipe', 'inherit'] });
		this.exited = new Promise(resolve => this.#process.on('exit', resolve));
		createInterface({ input: this.#process.stdout }).on('line', line => this.#receive(JSON.parse(line)));
	}

	#receive(message) {
		if (message.event) {
			this.events.push(message);
			for (const check of [...this.#waiting]) check(message);
			return;
		}
		const { resolve, reject } = this.#answers.get(message.id);
		this.#answers.delete(message.id);
		if (message.error) reject(Object.assign(new Error(message.error.message), { code: message.error.code }));
		else resolve(message.result);
	}

	call(method, params, client) {
		const id = this.#next++;
		const answer = new Promise((resolve, reject) => this.#answers.set(id, { resolve, reject }));
		this.#process.stdin.write(`${JSON.stringify({ id, method, params, client })}\n`);
		return answer;
	}

	/** The first event that fits, past or future. */
	event(name, fits = () => true, { client, timeout = 10_000 } = {}) {
		const matches = message => message.event === name && (!client || message.client === client) && fits(message.data);
		const past = this.events.find(matches);
		if (past) return Promise.resolve(past.data);
		return new Promise((resolve, reject) => {
			const timer = setTimeout(() => reject(new Error(`no event ${name} of ${client} within ${timeout} ms`)), timeout);
			const check = message => {
				if (!matches(message)) return;
				clearTimeout(timer);
				this.#waiting.delete(check);
				resolve(message.data);
			};
			this.#waiting.add(check);
		});
	}

	forget() {
		this.events = [];
	}

	/** Ends stdin, as a driver that died would. */
	hangUp() {
		this.#process.stdin.end();
		return this.exited;
	}
}
