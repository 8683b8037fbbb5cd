// One backend shared by several frontends: the output of all, the input to one, chosen with an escape key.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "base/error.h"
#include "chardev/chardev.h"
#include "event/loop.h"

namespace doppel::chardev {

/// What the escape keys ask of the machine. Called on the loop's thread.
struct MuxActions {
  std::function<void()> exit;        // Ctrl-A x
  std::function<void()> save_disks;  // Ctrl-A s
};

/// Ctrl-A h help, x exit, s save disks, b break, c next frontend, Ctrl-A Ctrl-A a Ctrl-A. As a Chardev it is its own
/// first frontend; add_frontend() makes the others, which live as long as this does. Threads as Chardev says.
class MuxChardev final : public Chardev {
 public:
  static constexpr std::size_t kMostFrontends = 8;
  /// Typed ahead to a frontend that does not read. Once full, the backend is not read either, nor the escape key.
  static constexpr std::size_t kTypeAhead = 4096;

  MuxChardev(std::unique_ptr<Chardev> backend, event::Loop& loop);
  ~MuxChardev() override;

  void set_actions(MuxActions actions) { actions_ = std::move(actions); }
  /// Another key (a control character) than Ctrl-A.
  void set_escape(std::uint8_t key) { escape_ = key; }
  Result<Chardev*> add_frontend();
  /// Sends what is typed to FRONTEND from now on: 0 is this object's own.
  void focus(std::size_t frontend);
  [[nodiscard]] std::size_t focused() const { return focused_; }
  [[nodiscard]] Chardev& backend() { return *backend_; }

  [[nodiscard]] const std::string& id() const override { return backend_->id(); }
  [[nodiscard]] std::string filename() const override { return backend_->filename(); }
  [[nodiscard]] std::size_t write(std::span<const std::byte> bytes) override;
  void connect(Frontend frontend) override;
  void accept_input() override;

 private:
  class Port;

  [[nodiscard]] std::size_t room() const;
  void receive(std::span<const std::byte> bytes);
  void escape_key(std::uint8_t key);
  void next_focus();
  void print(std::string_view text);
  void print_help();

  const std::unique_ptr<Chardev> backend_;
  event::Loop& loop_;
  MuxActions actions_;
  std::uint8_t escape_ = 1;
  bool escaped_ = false;
  bool open_ = false;
  std::vector<std::unique_ptr<Port>> ports_;
  std::size_t focused_ = 0;
};

}  // namespace doppel::chardev
