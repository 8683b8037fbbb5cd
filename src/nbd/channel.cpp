#include "nbd/channel.h"

#include <algorithm>
#include <cstring>

namespace doppel::nbd {

using block::Task;

Channel::Channel(event::Loop& loop, std::unique_ptr<Transport> transport)
    : loop_(loop), transport_(std::move(transport)), buffer_(kBufferSize) {}

void Channel::wait(Transfer::Outcome outcome, std::coroutine_handle<> waiting) {
  const bool reading = outcome == Transfer::Outcome::kWaitReadable;
  Direction& direction = reading ? readable_ : writable_;
  direction.waiting.push_back(waiting);
  if (direction.watch == nullptr)
    direction.watch = loop_.watch_fd(transport_->fd(), reading ? event::FdReady::kReadable : event::FdReady::kWritable,
                                     [this, &direction] { fired(direction); });
}

void Channel::fired(Direction& direction) {
  if (direction.waiting.empty()) {
    direction.watch.reset();
    return;
  }
  // The last one resumed may be the channel's end.
  const auto waiting = std::exchange(direction.waiting, {});
  for (const auto coroutine : waiting) coroutine.resume();
}

void Channel::replace_transport(std::unique_ptr<Transport> transport) {
  // The watches go on: the descriptor is the same.
  transport_ = std::move(transport);
}

/// Between 1 and TO's size; 0 at the end.
Task<std::size_t> Channel::receive_some(std::span<std::byte> to) {
  while (!closed_) {
    const Transfer transfer = transport_->receive(to);
    if (transfer.outcome == Transfer::Outcome::kDone) co_return transfer.bytes;
    if (transfer.outcome == Transfer::Outcome::kClosed) co_return std::size_t{0};
    co_await ready(transfer.outcome);
  }
  co_return std::size_t{0};
}

Task<bool> Channel::fill(std::size_t size) {
  if (closed_) co_return false;
  if (begin_ == end_) begin_ = end_ = 0;
  if (begin_ + size > buffer_.size()) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= std::exchange(begin_, 0);
  }
  while (end_ - begin_ < size) {
    const std::span<std::byte> room = std::span(buffer_).subspan(end_);
    const std::size_t got = co_await receive_some(room);
    if (got == 0) co_return false;
    end_ += got;
  }
  co_return true;
}

Task<bool> Channel::read(std::span<std::byte> to) {
  const std::size_t there = std::min(to.size(), end_ - begin_);
  if (there > 0) std::memcpy(to.data(), buffer_.data() + begin_, there);
  consume(there);
  to = to.subspan(there);
  while (!to.empty()) {
    const std::size_t got = co_await receive_some(to);
    if (got == 0) co_return false;
    to = to.subspan(got);
  }
  co_return true;
}

Task<bool> Channel::skip(std::uint64_t length) {
  while (length > 0) {
    const bool more = co_await fill(1);
    if (!more) co_return false;
    const auto part = static_cast<std::size_t>(std::min<std::uint64_t>(length, end_ - begin_));
    consume(part);
    length -= part;
  }
  co_return true;
}

Task<bool> Channel::write(std::vector<iovec> pieces) {
  std::span<iovec> left(pieces);
  while (!left.empty()) {
    if (closed_) co_return false;
    if (left.front().iov_len == 0) {
      left = left.subspan(1);
      continue;
    }
    const Transfer transfer = transport_->send(left);
    if (transfer.outcome == Transfer::Outcome::kClosed) co_return false;
    if (transfer.outcome != Transfer::Outcome::kDone) {
      co_await ready(transfer.outcome);
      continue;
    }
    for (std::size_t sent = transfer.bytes; sent > 0;) {
      const std::size_t part = std::min(sent, left.front().iov_len);
      left.front().iov_base = static_cast<std::byte*>(left.front().iov_base) + part;
      left.front().iov_len -= part;
      sent -= part;
      if (left.front().iov_len == 0) left = left.subspan(1);
    }
  }
  co_return true;
}

Task<bool> Channel::write(PipePool::Pipe& pipe) {
  while (pipe.bytes() > 0) {
    if (closed_) co_return false;
    const Transfer transfer = transport_->send_from(pipe.out(), pipe.bytes());
    if (transfer.outcome == Transfer::Outcome::kClosed) co_return false;
    if (transfer.outcome == Transfer::Outcome::kDone)
      pipe.taken(transfer.bytes);
    else
      co_await ready(transfer.outcome);
  }
  co_return true;
}

Task<bool> Channel::write(std::span<const std::byte> bytes) {
  // sendmsg(2) only looks at what an iovec names.
  std::vector<iovec> pieces{{const_cast<std::byte*>(bytes.data()), bytes.size()}};
  co_return co_await write(std::move(pieces));
}

}  // namespace doppel::nbd
