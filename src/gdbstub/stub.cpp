#include "gdbstub/stub.h"

#include <cstdlib>
#include <tuple>
#include <utility>
#include <variant>

#include "chardev/legacy.h"

namespace doppel::gdbstub {

namespace {

constexpr const char* kChardevId = "gdb";
/// As much input at once as is decoded without the client taking our answers.
constexpr std::size_t kInputPiece = 4096;

}  // namespace

Connection::Connection(chardev::Chardev& chardev, DebugTarget& target, Logger log)
    : chardev_(chardev),
      log_(std::move(log)),
      session_(target,
               {.send = [this](std::string_view payload) { send(payload); },
                .stop_acknowledging =
                    [this] {
                      acknowledging_ = false;
                      decoder_.check_sums(false);
                    }},
               log_),
      decoder_({
          .packet = [this](std::string_view payload) { packet(payload); },
          .damaged =
              [this] {
                if (acknowledging_) put("-");
              },
          .ack = [] {},
          .nack =
              [this] {
                if (acknowledging_ && unsent_.empty()) put(last_sent_);
              },
          .interrupt = [this] { session_.interrupt(); },
      }) {
  chardev_.connect({
      .can_receive = [this] { return unsent_.empty() ? kInputPiece : 0; },
      .receive = [this](std::span<const std::byte> bytes) { decoder_.feed(bytes); },
      .can_write =
          [this] {
            flush();
            if (unsent_.empty()) chardev_.accept_input();
          },
      .event = [this](chardev::CharEvent what) { event(what); },
  });
}

Connection::~Connection() {
  if (open_) session_.ending(EXIT_SUCCESS);
  chardev_.connect({});
}

void Connection::event(chardev::CharEvent event) {
  if (event == chardev::CharEvent::kOpened) {
    log_.info("a debugger connected");
    open_ = acknowledging_ = true;
    decoder_.reset();
    decoder_.check_sums(true);
    unsent_.clear();
    last_sent_.clear();
    session_.opened();
  } else if (event == chardev::CharEvent::kClosed) {
    open_ = false;
    unsent_.clear();
    session_.closed();
  }
}

void Connection::packet(std::string_view payload) {
  if (acknowledging_) put("+");
  session_.packet(payload);
}

void Connection::send(std::string_view payload) {
  last_sent_ = frame_packet(payload);
  put(last_sent_);
}

void Connection::put(std::string_view bytes) {
  unsent_ += bytes;
  flush();
}

/// The backend calls again when it has room.
void Connection::flush() {
  unsent_.erase(0, chardev_.write(std::as_bytes(std::span(unsent_))));
}

GdbStub::GdbStub(vm::VirtualMachine& machine, std::string chardev_id, bool owns_chardev)
    : machine_(machine), chardev_id_(std::move(chardev_id)), owns_chardev_(owns_chardev), target_(machine) {}

GdbStub::~GdbStub() {
  connection_.reset();
  machine_.loop().run_ready();  // sends the client our last words
  machine_.chardevs().release(chardev_id_);
  if (owns_chardev_) std::ignore = machine_.chardevs().remove(chardev_id_);
}

Result<std::unique_ptr<GdbStub>> GdbStub::create(vm::VirtualMachine& machine, const std::string& option, Logger log) {
  DOPPEL_ASSIGN(chardev::ChardevConfig config, chardev::parse_legacy_chardev(option, kChardevId));
  if (std::holds_alternative<chardev::NoBackend>(config.backend))
    return fail(ErrorKind::kInvalidArgument, "-gdb needs a character device, not '{}'", option);
  const auto* existing = std::get_if<chardev::ExistingBackend>(&config.backend);
  const std::string id = existing != nullptr ? existing->id : config.id;
  if (auto* socket = std::get_if<chardev::SocketBackend>(&config.backend)) {
    socket->server = true;
    socket->wait = false;
    socket->nodelay = socket->path.empty();
  }
  if (existing == nullptr) DOPPEL_TRY(machine.chardevs().add(config));
  auto claimed = machine.chardevs().claim(id);
  if (!claimed) return std::unexpected(std::move(claimed).error());
  auto stub = std::unique_ptr<GdbStub>(new GdbStub(machine, id, existing == nullptr));
  stub->connection_ = std::make_unique<Connection>(**claimed, stub->target_, std::move(log));
  return stub;
}

}  // namespace doppel::gdbstub
