#include "nbd/reply_queue.h"

#include "nbd/wire.h"

namespace doppel::nbd {

using block::Task;

namespace {

/// So many replies in one system call.
constexpr std::size_t kBatch = 64;

}  // namespace

std::vector<std::byte> simple_head(std::uint64_t cookie, WireError error) {
  WireWriter head;
  head.put(kSimpleReplyMagic).put(static_cast<std::uint32_t>(error)).put(cookie);
  return std::move(head).take();
}

std::vector<std::byte> chunk_head(std::uint64_t cookie, std::uint16_t flags, Chunk type, std::size_t length,
                                  std::span<const std::byte> fields) {
  WireWriter head;
  head.put(kStructuredReplyMagic)
      .put(flags)
      .put(static_cast<std::uint16_t>(type))
      .put(cookie)
      .put(static_cast<std::uint32_t>(length))
      .text({reinterpret_cast<const char*>(fields.data()), fields.size()});
  return std::move(head).take();
}

std::vector<std::byte> error_chunk(std::uint64_t cookie, WireError error, std::string_view why) {
  WireWriter fields;
  why = why.substr(0, kMaxName);
  fields.put(static_cast<std::uint32_t>(error)).put(static_cast<std::uint16_t>(why.size())).text(why);
  return chunk_head(cookie, kChunkDone, Chunk::kError, fields.bytes().size(), fields.bytes());
}

void ReplyQueue::push(Reply reply) {
  if (failed_) return;
  waiting_.push_back(std::move(reply));
  if (std::exchange(sending_, true)) return;
  loop_.post([this] { block::spawn(send_all(), [](bool) {}); });
}

Task<bool> ReplyQueue::send_all() {
  while (!waiting_.empty()) {
    const bool sent = co_await send_batch();
    if (!sent) {
      failed_ = true;
      channel_.shut_down();
      waiting_.clear();
    }
  }
  sending_ = false;
  // Whoever waits destroys this; nothing may come behind it.
  if (const auto waiting = std::exchange(waiting_for_idle_, {})) loop_.post([waiting] { waiting.resume(); });
  co_return true;
}

/// Up to one with a pipe.
Task<bool> ReplyQueue::send_batch() {
  std::vector<Reply> batch;
  std::vector<iovec> pieces;
  while (!waiting_.empty() && batch.size() < kBatch && (batch.empty() || !batch.back().pipe)) {
    Reply& reply = batch.emplace_back(std::move(waiting_.front()));
    waiting_.pop_front();
    pieces.push_back({reply.head.data(), reply.head.size()});
    const std::span<std::byte> payload = reply.payload.bytes();
    if (!payload.empty()) pieces.push_back({payload.data(), payload.size()});
  }
  const bool sent = co_await channel_.write(std::move(pieces));
  if (!sent || !batch.back().pipe) co_return sent;
  co_return co_await channel_.write(*batch.back().pipe);
}

Task<bool> ReplyQueue::idle() {
  struct Awaiter {
    ReplyQueue& queue;
    [[nodiscard]] bool await_ready() const { return !queue.sending_; }
    void await_suspend(std::coroutine_handle<> waiting) { queue.waiting_for_idle_ = waiting; }
    void await_resume() const {}
  };
  Awaiter awaiter{*this};
  co_await awaiter;
  co_return !failed_;
}

}  // namespace doppel::nbd
