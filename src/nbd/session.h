// One client, from its greeting to its leaving.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "block/task.h"
#include "nbd/budget.h"
#include "nbd/channel.h"
#include "nbd/negotiation.h"
#include "nbd/reply_queue.h"
#include "nbd/request.h"

namespace doppel::nbd {

/// On the loop's thread, as PIPES, which outlives it. Requests are read one after another and carried out at the same
/// time, as far as the client's budget goes; replies leave as they become ready.
class Session {
 public:
  Session(event::Loop& loop, const Offer& offer, std::unique_ptr<Transport> transport, PipePool& pipes);

  /// Until the client has left and nothing of it is under way; then it may be destroyed, on a later turn of the loop.
  /// Gives whether the negotiation succeeded.
  block::Task<bool> run();
  /// Ends run() soon, whatever the client does.
  void drop() { channel_.shut_down(); }

  [[nodiscard]] bool negotiated() const { return negotiated_; }

 private:
  struct Work {
    Request request;
    BufferPool::Buffer payload;
    Budget::Charge charge;
  };

  block::Task<bool> read_requests();
  block::Task<bool> read_request();
  block::Task<bool> serve(Work work);
  block::Task<bool> read(Work work);
  block::Task<bool> read_whole(Work work);
  block::Task<bool> read_chunks(Work work);
  block::Task<bool> fetch(Work& work, Reply& reply, std::uint64_t offset, std::size_t length);
  block::Task<Result<>> change(const Work& work);
  block::Task<Result<>> cache(const Request& request);
  block::Task<bool> block_status(Work work);

  void answer(Work work, const Result<>& result);
  void refuse(Work work, WireError error, std::string_view why);

  event::Loop& loop_;
  Channel channel_;
  Negotiation negotiation_;
  Agreement agreement_;
  Budget budget_;
  BufferPool buffers_;
  PipePool& pipes_;
  ReplyQueue replies_;
  bool negotiated_ = false;
  unsigned since_turn_ = 0;  // requests begun since others had a turn
};

}  // namespace doppel::nbd
