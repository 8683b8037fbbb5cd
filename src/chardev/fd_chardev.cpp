#include "chardev/fd_chardev.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "chardev/fd_util.h"

namespace doppel::chardev {
namespace {

constexpr int kLastWordsMs = 200;

/// A closed socket is an error here, not a signal.
ssize_t write_quietly(int fd, std::span<const std::byte> bytes) {
  const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  return sent < 0 && errno == ENOTSOCK ? ::write(fd, bytes.data(), bytes.size()) : sent;
}

}  // namespace

FdChardev::~FdChardev() {
  if (out_.valid()) write_until(out_.get(), take_unsent(), kLastWordsMs);
}

void FdChardev::attach(UniqueFd in, UniqueFd out) {
  detach();
  in_ = std::move(in);
  out_ = std::move(out);
  resume_input();
}

void FdChardev::detach() {
  stop_reading();
  out_watch_.reset();
  out_.reset();
}

void FdChardev::stop_reading() {
  in_watch_.reset();
  in_.reset();
}

void FdChardev::resume_input() {
  if (!in_.valid() || in_watch_) return;
  if (room() == 0) return;
  in_watch_ = loop().watch_fd(in_.get(), event::FdReady::kReadable, [this] { read_some(); });
}

void FdChardev::read_some() {
  if (!in_.valid()) return;
  const std::size_t limit = room();
  if (limit == 0) return in_watch_.reset();
  std::array<std::byte, 4096> buffer;
  const ssize_t got = ::read(in_.get(), buffer.data(), std::min(limit, buffer.size()));
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) return on_end_of_input();
  on_input(std::span(buffer).first(static_cast<std::size_t>(got)));
}

std::size_t FdChardev::transmit(std::span<const std::byte> bytes) {
  std::size_t done = 0;
  while (done < bytes.size() && out_.valid()) {
    const ssize_t sent = write_quietly(out_.get(), bytes.subspan(done));
    if (sent > 0) {
      done += static_cast<std::size_t>(sent);
    } else if (errno == EAGAIN) {
      watch_output();
      return done;
    } else if (errno != EINTR) {
      on_output_failed();
    }
  }
  return bytes.size();
}

void FdChardev::watch_output() {
  if (out_watch_) return;
  out_watch_ = loop().watch_fd(out_.get(), event::FdReady::kWritable, [this] {
    FdChardev* self = this;  // the watch takes this closure with it
    self->out_watch_.reset();
    self->on_writable();
  });
}

}  // namespace doppel::chardev
