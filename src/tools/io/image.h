// The image that doppel-io works on.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "block/context.h"
#include "block/image/open_image.h"
#include "block/qcow2/image.h"

namespace doppel::io {

struct OpenOptions {
  std::string filename{};
  std::string format{};
  std::string cache = "writeback";
  bool read_only = false;
  bool snapshot = false;  // writes go to a temporary file that nobody sees
  bool discard = false;
  bool force_share = false;
};

/// The image, open or not, and what is under way with it.
class Image {
 public:
  explicit Image(block::Context& context) : context_(context) {}
  ~Image() { (void)close(); }
  Image(const Image&) = delete;
  Image& operator=(const Image&) = delete;

  Result<> open(const OpenOptions& options);
  /// Behind everything that is under way.
  Result<> close();

  [[nodiscard]] bool is_open() const { return node_ != nullptr; }
  [[nodiscard]] block::Node& node() const { return *node_; }
  [[nodiscard]] const OpenOptions& options() const { return options_; }
  /// Null if it is of another format.
  [[nodiscard]] block::qcow2::Image* qcow2() const { return dynamic_cast<block::qcow2::Image*>(node_.get()); }
  [[nodiscard]] bool write_through() const { return write_through_; }

  template <class T>
  T run(block::Task<T> task) {
    return block::run_to_end(context_.loop(), std::move(task));
  }
  /// Begins TASK; it is done at the latest when finish_all() returns.
  void begin(block::Task<bool> task);
  void finish_all();
  void sleep(std::uint64_t milliseconds);

 private:
  block::Context& context_;
  block::NodePtr node_;
  OpenOptions options_;
  bool write_through_ = false;
  unsigned under_way_ = 0;
};

}  // namespace doppel::io
