// The smallest pluggable transport: a SOCKS 5 proxy that Tor starts, and that changes nothing. Source: pt-spec, version 1.
import { connect, createServer } from 'node:net';

const server = createServer((client) => {
  client.once('data', () => {
    client.write(Buffer.from([5, 0]));
    client.once('data', (request) => {
      const bridge = connect({ host: [...request.subarray(4, 8)].join('.'), port: request.readUInt16BE(8) }, () => {
        client.write(Buffer.from([5, 0, 0, 1, 0, 0, 0, 0, 0, 0]));
        client.pipe(bridge).pipe(client);
      });
      bridge.on('error', () => client.destroy());
      client.on('error', () => bridge.destroy());
    });
  });
});
server.listen(0, '127.0.0.1', () => {
  const { port } = server.address();
  process.stdout.write(`VERSION 1\nCMETHOD plain socks5 127.0.0.1:${port}\nCMETHODS DONE\n`);
});
process.stdin.on('end', () => process.exit(0)).resume();
