import { readFileSync } from 'node:fs';
import { connect, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createServer, type TlsOptions } from 'node:tls';
import { runProcess } from './processes.ts';

/** A certificate that only vouches for itself, in files that must not be there yet. */
export interface Identity {
  keyFile: string;
  certificateFile: string;
  key: string;
  cert: string;
}

/** For 127.0.0.1, unless it is for another host. Needs openssl. */
export async function createIdentity(folder: string, host = '127.0.0.1'): Promise<Identity> {
  const [keyFile, certificateFile] = [join(folder, 'key.pem'), join(folder, 'certificate.pem')];
  const name = /^[\d.]+$/.test(host) ? `IP:${host}` : `DNS:${host}`;
  const request = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2'];
  const files = ['-keyout', keyFile, '-out', certificateFile];
  const subject = ['-subj', `/CN=${host}`, '-addext', `subjectAltName=${name}`];
  const { exitCode, stderr } = await runProcess('openssl', [...request, ...files, ...subject]);
  if (exitCode !== 0) throw new Error(`openssl: ${stderr}`);
  const [key, cert] = [readFileSync(keyFile, 'utf8'), readFileSync(certificateFile, 'utf8')];
  return { keyFile, certificateFile, key, cert };
}

export interface TlsFront {
  url: string;
  close(): Promise<void>;
}

/** Speaks TLS, and passes everything on to the server at that URL, which doesn't. */
export async function startTlsFront(behind: string, options: TlsOptions): Promise<TlsFront> {
  const { hostname, port } = new URL(behind);
  const front = createServer(options, (socket) => {
    const inner = connect(Number(port), hostname);
    // A client that trusts nobody hangs up.
    for (const each of [socket, inner]) each.on('error', () => each.destroy());
    socket.pipe(inner).pipe(socket);
  });
  await new Promise<void>((resolve) => front.listen(0, '127.0.0.1', resolve));
  return {
    url: `https://127.0.0.1:${String((front.address() as AddressInfo).port)}`,
    close: () =>
      new Promise((resolve) => {
        front.close(() => {
          resolve();
        });
      }),
  };
}
