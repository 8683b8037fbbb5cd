// A client's connection for coroutines: whole reads, whole writes.
#pragma once

#include <array>
#include <coroutine>
#include <memory>
#include <span>
#include <vector>

#include "block/task.h"
#include "nbd/pipe_pool.h"
#include "nbd/transport.h"

namespace doppel::nbd {

/// On the loop's thread. One coroutine reads at a time, and one writes. Destroy it when neither does.
class Channel {
 public:
  Channel(event::Loop& loop, std::unique_ptr<Transport> transport);

  /// Waits until SIZE bytes, 64 KiB at most, can be had from buffered(). False: they will not come.
  block::Task<bool> fill(std::size_t size);
  [[nodiscard]] std::span<const std::byte> buffered() const {
    return std::span(buffer_).subspan(begin_, end_ - begin_);
  }
  void consume(std::size_t size) { begin_ += size; }

  block::Task<bool> read(std::span<std::byte> to);
  block::Task<bool> skip(std::uint64_t length);
  /// PIECES are changed while they go out.
  block::Task<bool> write(std::vector<iovec> pieces);
  block::Task<bool> write(std::span<const std::byte> bytes);
  /// All that is in PIPE, of a transport that takes pipes.
  block::Task<bool> write(PipePool::Pipe& pipe);

  /// Everything that waits here, and comes later, gives false, also what has been received already.
  void shut_down() {
    closed_ = true;
    transport_->shut_down();
  }

  [[nodiscard]] Transport& transport() { return *transport_; }
  /// From now on through another transport. Nothing may be buffered: what came before would be taken as having come
  /// through it.
  void replace_transport(std::unique_ptr<Transport> transport);

  /// co_await channel.ready(outcome): until the transport's descriptor is what OUTCOME waits for.
  class Ready {
   public:
    Ready(Channel& channel, Transfer::Outcome outcome) : channel_(channel), outcome_(outcome) {}
    [[nodiscard]] bool await_ready() const { return false; }
    void await_suspend(std::coroutine_handle<> waiting) { channel_.wait(outcome_, waiting); }
    void await_resume() const {}

   private:
    Channel& channel_;
    Transfer::Outcome outcome_;
  };
  [[nodiscard]] Ready ready(Transfer::Outcome outcome) { return {*this, outcome}; }

 private:
  static constexpr std::size_t kBufferSize = 64 << 10;

  /// A watch stays until it fires with nobody waiting: setting it up anew for each wait would cost system calls.
  struct Direction {
    std::unique_ptr<event::FdWatch> watch;
    std::vector<std::coroutine_handle<>> waiting;
  };

  void wait(Transfer::Outcome outcome, std::coroutine_handle<> waiting);
  void fired(Direction& direction);
  block::Task<std::size_t> receive_some(std::span<std::byte> to);

  event::Loop& loop_;
  std::unique_ptr<Transport> transport_;
  Direction readable_;
  Direction writable_;
  std::vector<std::byte> buffer_;
  std::size_t begin_ = 0;  // of what was received and not consumed
  std::size_t end_ = 0;
  bool closed_ = false;
};

}  // namespace doppel::nbd
