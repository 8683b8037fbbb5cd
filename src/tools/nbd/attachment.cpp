#include "tools/nbd/attachment.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <span>
#include <utility>

#include "nbd/protocol.h"
#include "nbd/wire.h"

namespace doppel::nbd {
namespace {

std::unexpected<Error> broken() {
  return fail(ErrorKind::kIo, "the server does not answer as it should");
}

Result<> send_all(int socket, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return fail_errno("cannot talk to the server");
    bytes = bytes.subspan(static_cast<std::size_t>(sent));
  }
  return {};
}

template <std::size_t N>
Result<std::array<std::byte, N>> receive(int socket) {
  std::array<std::byte, N> bytes{};
  std::span<std::byte> left(bytes);
  while (!left.empty()) {
    const ssize_t got = ::recv(socket, left.data(), left.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return broken();
    left = left.subspan(static_cast<std::size_t>(got));
  }
  return bytes;
}

}  // namespace

Result<ChosenExport> choose_export(int socket, const std::string& name) {
  DOPPEL_ASSIGN(const auto greeting, receive<18>(socket));
  WireReader reader(greeting);
  if (reader.take<std::uint64_t>() != kServerMagic || reader.take<std::uint64_t>() != kOptionMagic) return broken();
  WireWriter choice;
  choice.put(std::uint32_t{kFixedNewstyle | kNoZeroes})
      .put(kOptionMagic)
      .put(static_cast<std::uint32_t>(Option::kExportName))
      .put(static_cast<std::uint32_t>(name.size()))
      .text(name);
  DOPPEL_TRY(send_all(socket, choice.bytes()));
  DOPPEL_ASSIGN(const auto answer, receive<10>(socket));
  WireReader chosen(answer);
  const std::uint64_t size = *chosen.take<std::uint64_t>();
  return ChosenExport{.size = size, .transmission_flags = *chosen.take<std::uint16_t>()};
}

Attachment::Attachment(event::Loop& loop, std::unique_ptr<KernelDevice> device, UniqueFd socket, std::string name,
                       Events events)
    : loop_(loop),
      device_(std::move(device)),
      socket_(std::move(socket)),
      name_(std::move(name)),
      events_(std::make_shared<const Events>(std::move(events))),
      client_([this] { work(); }) {}

Attachment::~Attachment() {
  device_->detach();
  ::shutdown(socket_.get(), SHUT_RDWR);  // ends a handshake, too
  client_.join();
  if (scanner_.joinable()) scanner_.join();
}

void Attachment::work() {
  loop_.post([weak = std::weak_ptr(events_), how = attach_and_serve()] {
    if (const auto events = weak.lock()) events->detached(how);
  });
}

Result<> Attachment::attach_and_serve() {
  DOPPEL_ASSIGN(const ChosenExport chosen, choose_export(socket_.get(), name_));
  DOPPEL_TRY(device_->attach(socket_.get(), chosen.size, chosen.transmission_flags));
  scanner_ = std::thread([this] { device_->scan_partitions(); });
  loop_.post([weak = std::weak_ptr(events_)] {
    if (const auto events = weak.lock()) events->attached();
  });
  return device_->serve();
}

}  // namespace doppel::nbd
