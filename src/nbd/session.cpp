#include "nbd/session.h"

#include <algorithm>

#include "block/chain_status.h"
#include "nbd/status_collector.h"
#include "nbd/wire.h"

namespace doppel::nbd {

using block::Node;
using block::Task;

namespace {

/// What one client's requests may hold; a larger one is carried out alone. More would only fall out of the processor's
/// caches between being read and being sent.
constexpr std::size_t kBudgetBytes = 4 << 20;
constexpr unsigned kBudgetRequests = 128;
/// Other clients get a turn after so many requests of one.
constexpr unsigned kRequestsPerTurn = 64;
/// Shorter reads are not searched for zeroes: that would cost more than it saves.
constexpr std::uint32_t kSparseRead = 32 << 10;
/// A pipe is worth its system calls from so much on.
constexpr std::size_t kPipedRead = 32 << 10;
/// Chunks of a read are at most so long.
constexpr std::uint64_t kReadChunk = 2 << 20;

WireError wire_error(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kPermissionDenied: return WireError::kPermission;
    case ErrorKind::kInvalidArgument:
    case ErrorKind::kOutOfRange: return WireError::kInvalid;
    case ErrorKind::kNoSpace: return WireError::kNoSpace;
    case ErrorKind::kUnsupported: return WireError::kUnsupported;
    default: return WireError::kIo;
  }
}

/// The bytes that REQUEST will hold in memory.
std::size_t cost(const Request& request) {
  const bool holds = request.command == Command::kRead || request.command == Command::kWrite;
  return holds ? std::min(request.length, kMaxPayload) : 0;
}

}  // namespace

Session::Session(event::Loop& loop, const Offer& offer, std::unique_ptr<Transport> transport, PipePool& pipes)
    : loop_(loop),
      channel_(loop, std::move(transport)),
      negotiation_(offer, channel_),
      budget_(kBudgetBytes, kBudgetRequests),
      buffers_(kBudgetBytes),
      pipes_(pipes),
      replies_(loop, channel_) {}

Task<bool> Session::run() {
  const std::optional<Agreement> agreement = co_await negotiation_.run();
  if (agreement) {
    agreement_ = *agreement;
    negotiated_ = true;
    (void)co_await read_requests();
    {
      const Budget::Charge last = co_await budget_.all_returned();
    }
    (void)co_await replies_.idle();
  }
  channel_.shut_down();
  // What has resumed this may still look at its members.
  co_await block::LoopTurn(loop_);
  co_return negotiated_;
}

Task<bool> Session::read_requests() {
  for (;;) {
    const bool more = co_await read_request();
    if (!more) co_return true;
    if (++since_turn_ < kRequestsPerTurn) continue;
    since_turn_ = 0;
    co_await block::LoopTurn(loop_);
  }
}

/// False: the client is done, or what it sends makes no sense any more.
Task<bool> Session::read_request() {
  const bool there = co_await channel_.fill(kRequestSize);
  if (!there) co_return false;
  const auto request = parse_request(channel_.buffered());
  channel_.consume(kRequestSize);
  if (!request || request->command == Command::kDisconnect) co_return false;
  // Nobody sends gigabytes only to hear that they were too many.
  if (request->has_payload() && request->length > kMaxPayload) co_return false;
  Budget::Charge charge = co_await budget_.take(cost(*request));
  Work work{.request = *request, .payload = {}, .charge = std::move(charge)};
  const auto refusal = check(*request, agreement_);
  if (request->has_payload() && !refusal) {
    work.payload = buffers_.get(request->length);
    if (!work.payload.valid()) co_return false;
    const bool whole = co_await channel_.read(work.payload.bytes());
    if (!whole) co_return false;
  } else if (request->has_payload()) {
    const bool skipped = co_await channel_.skip(request->length);
    if (!skipped) co_return false;
  }
  if (refusal)
    refuse(std::move(work), refusal->error, refusal->why);
  else
    block::spawn(serve(std::move(work)), [](bool) {});
  co_return true;
}

Task<bool> Session::serve(Work work) {
  switch (work.request.command) {
    case Command::kRead: co_return co_await read(std::move(work));
    case Command::kBlockStatus: co_return co_await block_status(std::move(work));
    default: break;
  }
  const Result<> result = co_await change(work);
  answer(std::move(work), result);
  co_return true;
}

/// Everything whose reply has no data.
Task<Result<>> Session::change(const Work& work) {
  Node& node = *agreement_.disk->node;
  const Request& request = work.request;
  const Export& disk = *agreement_.disk;
  switch (request.command) {
    case Command::kWrite: DOPPEL_CO_TRY(co_await node.write(request.offset, work.payload.bytes())); break;
    case Command::kWriteZeroes: {
      const bool may_unmap = disk.discard && !request.has(kNoHole);
      DOPPEL_CO_TRY(co_await node.write_zeroes(request.offset, request.length,
                                               may_unmap ? block::Unmap::kMayUnmap : block::Unmap::kKeep));
      break;
    }
    case Command::kTrim:
      if (disk.discard) DOPPEL_CO_TRY(co_await node.discard(request.offset, request.length));
      break;
    case Command::kCache: co_return co_await cache(request);
    case Command::kFlush:
      if (disk.read_only) co_return Result<>{};
      co_return co_await node.flush();
    default: break;
  }
  if (disk.write_through || request.has(kFua)) DOPPEL_CO_TRY(co_await node.flush());
  co_return Result<>{};
}

/// Reading it brings it into the host's page cache.
Task<Result<>> Session::cache(const Request& request) {
  constexpr std::uint32_t kPiece = 256 << 10;
  const BufferPool::Buffer buffer = buffers_.get(std::min(request.length, kPiece));
  if (!buffer.valid()) co_return fail(ErrorKind::kNoSpace, "no memory");
  for (std::uint32_t done = 0; done < request.length;) {
    const std::uint32_t part = std::min(request.length - done, kPiece);
    DOPPEL_CO_TRY(co_await agreement_.disk->node->read(request.offset + done, buffer.bytes().first(part)));
    done += part;
  }
  co_return Result<>{};
}

Task<bool> Session::read(Work work) {
  const Request& request = work.request;
  if (request.length == 0) {
    answer(std::move(work), {});
    co_return true;
  }
  const bool in_chunks = agreement_.structured && !request.has(kDontFragment) && request.length >= kSparseRead;
  if (in_chunks) co_return co_await read_chunks(std::move(work));
  co_return co_await read_whole(std::move(work));
}

Task<bool> Session::read_whole(Work work) {
  const Request& request = work.request;
  Reply reply{.head = {}};
  const bool fetched = co_await fetch(work, reply, request.offset, request.length);
  if (!fetched) co_return true;
  if (agreement_.structured) {
    WireWriter fields;
    fields.put(request.offset);
    reply.head = chunk_head(request.cookie, kChunkDone, Chunk::kOffsetData, sizeof(std::uint64_t) + request.length,
                            fields.bytes());
  } else {
    reply.head = simple_head(request.cookie, WireError::kNone);
  }
  reply.charge = std::move(work.charge);
  replies_.push(std::move(reply));
  co_return true;
}

/// Puts what is on the disk into REPLY: the file's own pages in a pipe if there is enough to be worth it and nobody
/// writes to them, else a copy. False: that failed, and WORK was answered.
Task<bool> Session::fetch(Work& work, Reply& reply, std::uint64_t offset, std::size_t length) {
  Node& node = *agreement_.disk->node;
  const bool by_pipe =
      length >= kPipedRead && length <= PipePool::kMostBytes && node.read_only() && channel_.transport().takes_pipes();
  if (by_pipe) reply.pipe = pipes_.get();
  if (reply.pipe) {
    const bool spliced = co_await node.splice(offset, length, reply.pipe->in());
    if (spliced) {
      reply.pipe->set_bytes(length);
      co_return true;
    }
    reply.pipe.reset();
  }
  reply.payload = buffers_.get(length);
  if (!reply.payload.valid()) {
    refuse(std::move(work), WireError::kNoMemory, "no memory");
    co_return false;
  }
  const std::span<std::byte> bytes = reply.payload.bytes();
  const Result<> result = co_await node.read(offset, bytes);
  if (!result) answer(std::move(work), result);
  co_return result.has_value();
}

/// Zeroes that the disk knows of are only named.
Task<bool> Session::read_chunks(Work work) {
  const Request request = work.request;
  Node& node = *agreement_.disk->node;
  for (std::uint64_t done = 0; done < request.length;) {
    const std::uint64_t offset = request.offset + done;
    const std::uint64_t left = request.length - done;
    const auto found = co_await block::chain_status(node, nullptr, offset, left);
    const bool zero = found && (found->status.zero || !found->status.allocated);
    // What could not be told is read.
    std::uint64_t length = found ? std::min(found->status.bytes, left) : left;
    if (!zero) length = std::min(length, kReadChunk);
    done += length;
    const std::uint16_t flags = done == request.length ? kChunkDone : 0;
    Reply reply{.head = {}};
    WireWriter fields;
    fields.put(offset);
    if (zero) {
      fields.put(static_cast<std::uint32_t>(length));
      reply.head = chunk_head(request.cookie, flags, Chunk::kOffsetHole, fields.bytes().size(), fields.bytes());
    } else {
      const bool fetched = co_await fetch(work, reply, offset, length);
      if (!fetched) co_return true;
      reply.head =
          chunk_head(request.cookie, flags, Chunk::kOffsetData, sizeof(std::uint64_t) + length, fields.bytes());
    }
    if (flags == kChunkDone) reply.charge = std::move(work.charge);
    replies_.push(std::move(reply));
  }
  co_return true;
}

Task<bool> Session::block_status(Work work) {
  const Request& request = work.request;
  StatusCollector collector(loop_, *agreement_.disk, agreement_.contexts);
  const Result<> result =
      co_await collector.collect(request.offset, request.length, request.has(kRequestOne) ? 1 : kMaxExtents);
  if (!result) {
    answer(std::move(work), result);
    co_return true;
  }
  for (std::size_t i = 0; i < agreement_.contexts.size(); ++i) {
    const bool last = i + 1 == agreement_.contexts.size();
    const std::vector<std::byte> fields = collector.description(i);
    Reply reply{.head = chunk_head(request.cookie, last ? kChunkDone : 0, Chunk::kBlockStatus, fields.size(), fields)};
    if (last) reply.charge = std::move(work.charge);
    replies_.push(std::move(reply));
  }
  co_return true;
}

void Session::answer(Work work, const Result<>& result) {
  if (!result) return refuse(std::move(work), wire_error(result.error().kind()), result.error().describe());
  const bool as_chunk = agreement_.structured && work.request.command == Command::kRead;
  replies_.push({.head = as_chunk ? chunk_head(work.request.cookie, kChunkDone, Chunk::kNone, 0, {})
                                  : simple_head(work.request.cookie, WireError::kNone),
                 .charge = std::move(work.charge)});
}

void Session::refuse(Work work, WireError error, std::string_view why) {
  replies_.push({.head = agreement_.structured ? error_chunk(work.request.cookie, error, why)
                                               : simple_head(work.request.cookie, error),
                 .charge = std::move(work.charge)});
}

}  // namespace doppel::nbd
