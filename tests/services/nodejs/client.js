// Calls every RPC of user.UserService, chat.ChatService and file.FileService with @grpc/grpc-js, and prints what came of
// it as one JSON value. It judges nothing: test_nodejs.py does.
//
//     node client.js TARGET PROTOS
'use strict';

const crypto = require('crypto');
const path = require('path');
const grpc = require('@grpc/grpc-js');
const protoLoader = require('@grpc/proto-loader');

const [target, protos] = process.argv.slice(2);

// Milliseconds after which a call has failed; far above what any of them takes.
const BOUND = 60000;
const codeNames = Object.fromEntries(Object.entries(grpc.status).map(([name, code]) => [code, name]));

function connect(proto, service, options = {}) {
  const definition = protoLoader.loadSync(path.join(protos, proto), {
    keepCase: true, longs: String, enums: String, defaults: true, oneofs: true,
  });
  const [packageName, serviceName] = service.split('.');
  const Client = grpc.loadPackageDefinition(definition)[packageName][serviceName];
  return new Client(target, grpc.credentials.createInsecure(), options);
}

function inTime() {
  return { deadline: Date.now() + BOUND };
}

function failure(error) {
  const [details] = error.metadata ? error.metadata.get('grpc-status-details-bin') : [];
  return { code: codeNames[error.code], message: error.details, status: details ? details.toString('base64') : '' };
}

// Makes a call with one response; `send` gets the call, if there is a stream to write.
function one(client, method, request, { metadata = new grpc.Metadata(), options = inTime(), send } = {}) {
  return new Promise((resolve) => {
    const done = (error, response) => resolve(error ? { error: failure(error) } : { response });
    const call = send
      ? client[method](metadata, options, done)
      : client[method](request, metadata, options, done);
    if (send) send(call);
  });
}

// Reads a stream of responses, one by one.
class Reader {
  constructor(call) {
    this.call = call;
    this.items = [];
    this.waiting = [];
    this.status = null;
    this.began = new Promise((resolve) => call.once('metadata', resolve));
    call.on('data', (item) => this.put({ item }));
    call.on('error', (error) => this.end({ error: failure(error) }));
    call.on('status', (status) => this.end({ code: codeNames[status.code] }));
  }

  put(found) {
    const reader = this.waiting.shift();
    if (reader) reader(found);
    else this.items.push(found);
  }

  // An error comes before the status that says the same.
  end(status) {
    if (this.status) return;
    this.status = status;
    this.put({ status });
  }

  // The next response, or how the stream ended.
  next() {
    if (this.items.length) return Promise.resolve(this.items.shift());
    if (this.status) return Promise.resolve({ status: this.status });
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  async take(number) {
    const items = [];
    while (items.length < number) {
      const { item, status } = await this.next();
      if (status) throw new Error(`a stream ended early: ${JSON.stringify(status)}`);
      items.push(item);
    }
    return items;
  }

  async rest() {
    for (const items = []; ;) {
      const { item, status } = await this.next();
      if (status) return { items, ...status };
      items.push(item);
    }
  }
}

async function users() {
  const client = connect('user/user.proto', 'user.UserService');
  const seen = {};
  const ask = (method, request) => one(client, method, request);

  seen.created = await ask('createUser', { name: 'Ann', email: 'ann@example.com' });
  const { id } = seen.created.response;
  seen.got = await ask('getUser', { user_id: id });
  seen.updated = await ask('updateUser', { user_id: id, name: 'Anna', email: 'anna@example.com' });
  seen.unknown = {};
  for (const method of ['getUser', 'updateUser', 'deleteUser']) {
    seen.unknown[method] = await ask(method, { user_id: 999 });
  }
  seen.unknown.watchUser = await new Reader(client.watchUser({ user_id: 999 }, inTime())).rest();
  seen.zero = await ask('getUser', { user_id: 0 });
  seen.refused = {
    nothing: await ask('createUser', {}),
    name: await ask('createUser', { email: 'bob@example.com' }),
    email: await ask('createUser', { name: 'Bob' }),
    blank: await ask('createUser', { name: ' ', email: 'bob@example.com' }),
    address: await ask('createUser', { name: 'Bob', email: 'bob' }),
  };
  seen.taken = await ask('createUser', { name: 'Ann', email: 'Anna@example.com' });

  const batch = [
    { name: 'Bob', email: 'bob@example.com' },
    { name: '', email: 'nobody@example.com' },
    { name: 'Anna', email: 'anna@example.com' },
    { name: 'Cid', email: 'cid@example.com' },
  ];
  seen.batch = await one(client, 'createMultipleUsers', null, {
    send(call) {
      batch.forEach((user) => call.write(user));
      call.end();
    },
  });
  seen.listed = await new Reader(client.listUsers({ page_size: 2, offset: 1 }, inTime())).rest();
  seen.all = await new Reader(client.listUsers({}, inTime())).rest();

  const watch = new Reader(client.watchUser({ user_id: id }, inTime()));
  const events = await watch.take(1);
  await ask('updateUser', { user_id: id, name: 'Annette' });
  seen.deleted = await ask('deleteUser', { user_id: id });
  const ended = await watch.rest();
  seen.watched = { events: [...events, ...ended.items], code: ended.code };

  const cancelled = new Reader(client.watchUser({ user_id: 2 }, inTime()));
  await cancelled.take(1);
  cancelled.call.cancel();
  seen.cancelled = await cancelled.rest();
  const late = new Reader(client.watchUser({ user_id: 2 }, { deadline: Date.now() + 500 }));
  seen.late = await late.rest();
  seen.cancelledUnary = await new Promise((resolve) => {
    client.getUser({ user_id: 2 }, (error, response) => resolve(error ? failure(error) : { response })).cancel();
  });

  const [first, second] = [client.chatWithUsers(inTime()), client.chatWithUsers(inTime())].map((call) => new Reader(call));
  seen.welcomes = [...await first.take(1), ...await second.take(1)];
  first.call.write({ user_id: 1, username: 'Ann', message: 'Hello everyone!', timestamp: 1 });
  seen.heard = await second.take(1);
  second.call.write({ user_id: 2, username: 'Bob', message: 'Hello Ann!' });
  seen.answered = await first.take(1);
  first.call.end();
  second.call.end();
  seen.left = [await first.rest(), await second.rest()];

  const packed = connect('user/user.proto', 'user.UserService', {
    'grpc.default_compression_algorithm': grpc.compressionAlgorithms.gzip,
  });
  seen.compressed = await one(packed, 'createUser', { name: 'x'.repeat(200), email: 'x@example.com' });
  packed.close();
  client.close();
  return seen;
}

async function chat() {
  const client = connect('chat/chat.proto', 'chat.ChatService');
  const seen = {};
  const ask = (method, request) => one(client, method, request);

  seen.room = await ask('createRoom', { name: 'Demo', description: 'Of Node.js', created_by: 'ann' });
  const { room_id } = seen.room.response;
  seen.refused = await ask('createRoom', {});
  const join = async (user_id, username) => {
    const reader = new Reader(client.joinRoom({ room_id, user_id, username }, inTime()));
    await reader.began;
    return reader;
  };
  const ann = await join('ann', 'Ann');
  const bob = await join('bob', 'Bob');
  seen.rooms = await ask('listRooms', { limit: 5, offset: 0 });
  seen.sent = await ask('sendMessage', { room_id, user_id: 'ann', content: 'Hello Bob!' });
  seen.stranger = await ask('sendMessage', { room_id, user_id: 'cid', content: 'Hello!' });
  seen.nowhere = await ask('sendMessage', { room_id: 'none', user_id: 'ann', content: 'Hello!' });
  seen.left = await ask('leaveRoom', { room_id, user_id: 'bob' });
  seen.heardByBob = await bob.rest();
  seen.heardByAnn = await ann.take(3);
  seen.history = await ask('getRoomHistory', { room_id, limit: 10 });
  ann.call.cancel();
  seen.cancelled = await ann.rest();
  seen.unknown = {
    joinRoom: await new Reader(client.joinRoom({ room_id: 'none', user_id: 'ann' }, inTime())).rest(),
    leaveRoom: await ask('leaveRoom', { room_id: 'none', user_id: 'ann' }),
    getRoomHistory: await ask('getRoomHistory', { room_id: 'none' }),
  };
  client.close();
  return seen;
}

async function files() {
  const client = connect('file/file.proto', 'file.FileService');
  const seen = {};
  const as = (user) => {
    const metadata = new grpc.Metadata();
    metadata.set('user-id', user);
    return metadata;
  };
  const size = 64 * 1024;
  const content = Buffer.alloc(2 * size + 1000);
  content.forEach((_, index) => { content[index] = (index * 31) % 251; });
  const checksum = crypto.createHash('sha256').update(content).digest('hex');

  const upload = (filename, data, sum) => one(client, 'uploadFile', null, {
    metadata: as('ann'),
    send(call) {
      const total = Math.max(1, Math.ceil(data.length / size));
      for (let number = 1; number <= total; number += 1) {
        call.write({
          filename,
          data: data.subarray((number - 1) * size, number * size),
          chunk_number: number,
          total_chunks: total,
          checksum: number === total ? sum : '',
        });
      }
      call.end();
    },
  });
  seen.checksum = checksum;
  seen.uploaded = await upload('numbers.bin', content, checksum);
  const { file_id } = seen.uploaded.response;
  seen.damaged = await upload('damaged.bin', content, '0'.repeat(64));
  seen.unnamed = await upload('', content, checksum);
  seen.info = await one(client, 'getFileInfo', { file_id });
  seen.listed = await one(client, 'listFiles', { user_id: 'ann', limit: 5 });
  const { items, ...status } = await new Reader(client.downloadFile({ file_id }, inTime())).rest();
  seen.downloaded = {
    ...status,
    same: Buffer.concat(items.map((chunk) => chunk.data)).equals(content),
    chunks: items.map(({ data, ...chunk }) => ({ ...chunk, size: data.length })),
  };
  seen.foreign = await one(client, 'deleteFile', { file_id }, { metadata: as('bob') });
  seen.deleted = await one(client, 'deleteFile', { file_id }, { metadata: as('ann') });
  seen.unknown = {
    getFileInfo: await one(client, 'getFileInfo', { file_id }),
    deleteFile: await one(client, 'deleteFile', { file_id }, { metadata: as('ann') }),
    downloadFile: await new Reader(client.downloadFile({ file_id }, inTime())).rest(),
  };
  client.close();
  return seen;
}

async function main() {
  const seen = { user: await users(), chat: await chat(), file: await files() };
  process.stdout.write(JSON.stringify(seen));
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
