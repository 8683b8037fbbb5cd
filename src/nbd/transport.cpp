#include "nbd/transport.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <climits>

namespace doppel::nbd {
namespace {

Transfer outcome_of(ssize_t result, Transfer::Outcome wait) {
  if (result > 0) return {Transfer::Outcome::kDone, static_cast<std::size_t>(result)};
  if (result < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return {wait};
  return {Transfer::Outcome::kClosed};
}

class PlainTransport final : public Transport {
 public:
  explicit PlainTransport(UniqueFd fd) : fd_(std::move(fd)) {}

  [[nodiscard]] int fd() const override { return fd_.get(); }

  Transfer receive(std::span<std::byte> to) override {
    ssize_t result = 0;
    do result = ::recv(fd_.get(), to.data(), to.size(), 0);
    while (result < 0 && errno == EINTR);
    return outcome_of(result, Transfer::Outcome::kWaitReadable);
  }

  Transfer send(std::span<const iovec> pieces) override {
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(pieces.data());  // sendmsg(2) does not change them
    message.msg_iovlen = std::min<std::size_t>(pieces.size(), IOV_MAX);
    ssize_t result = 0;
    do result = ::sendmsg(fd_.get(), &message, MSG_NOSIGNAL);
    while (result < 0 && errno == EINTR);
    return outcome_of(result, Transfer::Outcome::kWaitWritable);
  }

  [[nodiscard]] bool takes_pipes() const override { return true; }
  Transfer send_from(int pipe, std::size_t bytes) override {
    ssize_t result = 0;
    do result = ::splice(pipe, nullptr, fd_.get(), nullptr, bytes, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    while (result < 0 && errno == EINTR);
    return outcome_of(result, Transfer::Outcome::kWaitWritable);
  }

  void shut_down() override { ::shutdown(fd_.get(), SHUT_RDWR); }
  UniqueFd release() override { return std::move(fd_); }

 private:
  UniqueFd fd_;
};

}  // namespace

std::unique_ptr<Transport> plain_transport(UniqueFd fd) {
  return std::make_unique<PlainTransport>(std::move(fd));
}

}  // namespace doppel::nbd
