#include "chardev/mux_chardev.h"

#include <algorithm>
#include <atomic>
#include <deque>
#include <string_view>

namespace doppel::chardev {

/// One frontend's end: its input queue and its share of the flow control.
class MuxChardev::Port final : public Chardev {
 public:
  Port(MuxChardev& mux, event::Loop& loop) : mux_(mux), loop_(loop) {}

  [[nodiscard]] const std::string& id() const override { return mux_.id(); }
  [[nodiscard]] std::string filename() const override { return mux_.filename(); }

  [[nodiscard]] std::size_t write(std::span<const std::byte> bytes) override {
    const std::size_t taken = mux_.backend_->write(bytes);
    if (taken < bytes.size()) short_write_ = true;
    return taken;
  }

  void connect(Frontend frontend) override {
    frontend_ = std::make_shared<Frontend>(std::move(frontend));
    post([this, weak = std::weak_ptr<Frontend>(frontend_)] {
      if (weak.lock() != frontend_) return;
      if (mux_.open_) send_event(CharEvent::kOpened);
      pump();
    });
  }

  void accept_input() override {
    if (stalled_.exchange(false)) post([this] { pump(); });
  }

  [[nodiscard]] bool connected() const { return frontend_ && frontend_->receive; }
  [[nodiscard]] std::size_t queued() const { return queue_.size(); }
  void push(std::byte byte) { queue_.push_back(byte); }

  void send_event(CharEvent event) {
    if (const auto frontend = frontend_; frontend && frontend->event) frontend->event(event);
  }

  void offer_room() {
    if (!short_write_.exchange(false)) return;
    if (const auto frontend = frontend_; frontend && frontend->can_write) frontend->can_write();
  }

  /// Delivers from the queue what the frontend takes.
  void pump() {
    const auto frontend = frontend_;
    if (!frontend || !frontend->can_receive || !frontend->receive) return;
    while (!queue_.empty() && frontend == frontend_) {
      std::size_t count = std::min(frontend->can_receive(), queue_.size());
      if (count == 0) {
        stalled_ = true;  // asked again after the flag is up: room made in between is not told twice
        count = std::min(frontend->can_receive(), queue_.size());
        if (count == 0) return;
        stalled_ = false;
      }
      const auto end = queue_.begin() + static_cast<std::ptrdiff_t>(count);
      const std::vector<std::byte> head(queue_.begin(), end);
      queue_.erase(queue_.begin(), end);
      frontend->receive(head);
    }
    mux_.backend_->accept_input();
  }

 private:
  template <class Work>
  void post(Work work) {
    loop_.post([alive = std::weak_ptr<bool>(alive_), work = std::move(work)]() mutable {
      if (!alive.expired()) work();
    });
  }

  MuxChardev& mux_;
  event::Loop& loop_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  std::shared_ptr<Frontend> frontend_;
  std::deque<std::byte> queue_;
  std::atomic<bool> stalled_{false};
  std::atomic<bool> short_write_{false};
};

MuxChardev::MuxChardev(std::unique_ptr<Chardev> backend, event::Loop& loop)
    : backend_(std::move(backend)), loop_(loop) {
  ports_.push_back(std::make_unique<Port>(*this, loop_));
  backend_->connect({.can_receive = [this] { return room(); },
                     .receive = [this](std::span<const std::byte> bytes) { receive(bytes); },
                     .can_write =
                         [this] {
                           for (const auto& port : ports_) port->offer_room();
                         },
                     .event =
                         [this](CharEvent event) {
                           if (event == CharEvent::kBreak) return ports_[focused_]->send_event(event);
                           open_ = event == CharEvent::kOpened;
                           for (const auto& port : ports_) port->send_event(event);
                         }});
}

MuxChardev::~MuxChardev() {
  backend_->connect({});
}

Result<Chardev*> MuxChardev::add_frontend() {
  if (ports_.size() >= kMostFrontends)
    return fail(ErrorKind::kNoSpace, "chardev '{}' already has {} frontends", id(), kMostFrontends);
  ports_.push_back(std::make_unique<Port>(*this, loop_));
  return ports_.back().get();
}

std::size_t MuxChardev::write(std::span<const std::byte> bytes) {
  return ports_[0]->write(bytes);
}
void MuxChardev::connect(Frontend frontend) {
  ports_[0]->connect(std::move(frontend));
}
void MuxChardev::accept_input() {
  ports_[0]->accept_input();
}

std::size_t MuxChardev::room() const {
  return kTypeAhead - std::min(kTypeAhead, ports_[focused_]->queued());
}

void MuxChardev::receive(std::span<const std::byte> bytes) {
  for (const std::byte byte : bytes) {
    const auto key = static_cast<std::uint8_t>(byte);
    if (escaped_) {
      escaped_ = false;
      escape_key(key);
    } else if (key == escape_) {
      escaped_ = true;
    } else {
      ports_[focused_]->push(byte);
    }
  }
  ports_[focused_]->pump();
}

void MuxChardev::escape_key(std::uint8_t key) {
  if (key == escape_) return ports_[focused_]->push(std::byte{escape_});
  switch (key) {
    case '?':
    case 'h': return print_help();
    case 'x':
      print("\r\nThe emulator is ended from its terminal.\r\n");
      if (actions_.exit) actions_.exit();
      return;
    case 's':
      if (actions_.save_disks) actions_.save_disks();
      return;
    case 'b': return ports_[focused_]->send_event(CharEvent::kBreak);
    case 'c': return next_focus();
    default: return;
  }
}

void MuxChardev::next_focus() {
  for (std::size_t step = 1; step < ports_.size(); ++step) {
    const std::size_t next = (focused_ + step) % ports_.size();
    if (ports_[next]->connected()) return focus(next);
  }
}

void MuxChardev::focus(std::size_t frontend) {
  if (frontend == focused_ || frontend >= ports_.size()) return;
  ports_[focused_]->pump();
  ports_[focused_]->send_event(CharEvent::kFocusOut);
  focused_ = frontend;
  ports_[focused_]->send_event(CharEvent::kFocusIn);
  backend_->accept_input();
}

void MuxChardev::print(std::string_view text) {
  // A full queue loses some of it, which is better than to wait.
  (void)backend_->write(std::as_bytes(std::span(text)));
}

void MuxChardev::print_help() {
  const std::string key = escape_ < 0x20 ? fmt::format("C-{:c}", static_cast<char>(escape_ + 'a' - 1))
                                         : std::string(1, static_cast<char>(escape_));
  struct Line {
    std::string_view key;
    std::string_view help;
  };
  static constexpr Line kLines[] = {
      {"h", "show this help"},
      {"x", "end the emulator"},
      {"s", "write all disks' data out"},
      {"b", "send a break"},
      {"c", "switch between the console and the monitor"},
  };
  std::string text = "\r\n";
  for (const Line& line : kLines) text += fmt::format("{} {}    {}\r\n", key, line.key, line.help);
  text += fmt::format("{} {}  send {}\r\n", key, key, key);
  print(text);
}

}  // namespace doppel::chardev
