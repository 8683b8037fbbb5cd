// Replies on their way to a client.
#pragma once

#include <deque>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "block/task.h"
#include "nbd/budget.h"
#include "nbd/buffer_pool.h"
#include "nbd/channel.h"
#include "nbd/pipe_pool.h"
#include "nbd/protocol.h"

namespace doppel::nbd {

/// A head, some bytes behind it, here or in a pipe, and what the request may hold until they are out.
struct Reply {
  std::vector<std::byte> head;
  BufferPool::Buffer payload{};
  std::optional<PipePool::Pipe> pipe{};
  Budget::Charge charge{};
};

/// The 16 bytes of a simple reply.
std::vector<std::byte> simple_head(std::uint64_t cookie, WireError error);
/// The head of a chunk with room for FIELDS, the first bytes of its LENGTH.
std::vector<std::byte> chunk_head(std::uint64_t cookie, std::uint16_t flags, Chunk type, std::size_t length,
                                  std::span<const std::byte> fields);
/// A whole error chunk with a sentence.
std::vector<std::byte> error_chunk(std::uint64_t cookie, WireError error, std::string_view why);

/// Sends replies in the order in which they come, all that have gathered in a turn of the loop at once. After a failure
/// they are forgotten. Destroy it when it is idle.
class ReplyQueue {
 public:
  ReplyQueue(event::Loop& loop, Channel& channel) : loop_(loop), channel_(channel) {}

  void push(Reply reply);
  /// Until nothing is on its way. One coroutine at a time.
  block::Task<bool> idle();

 private:
  block::Task<bool> send_all();
  block::Task<bool> send_batch();

  event::Loop& loop_;
  Channel& channel_;
  std::deque<Reply> waiting_;
  bool sending_ = false;  // or about to
  bool failed_ = false;
  std::coroutine_handle<> waiting_for_idle_;
};

}  // namespace doppel::nbd
