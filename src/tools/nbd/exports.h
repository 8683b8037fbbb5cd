// The images that doppel-nbd serves.
#pragma once

#include <vector>

#include "block/context.h"
#include "nbd/export.h"
#include "tools/nbd/options.h"

namespace doppel::nbd {

/// Images that are open, and the exports over them. close() comes before destruction.
class OpenExports {
 public:
  /// While CONTEXT's loop does not run.
  static Result<OpenExports> open(block::Context& context, const std::vector<ExportOptions>& options);

  /// A copy that refers to the images.
  [[nodiscard]] std::vector<Export> exports() const { return exports_; }
  void let_many_clients(bool many);
  /// While the loop does not run. The first failure counts, and all are closed.
  Result<> close(block::Context& context);

 private:
  std::vector<block::NodePtr> nodes_;
  std::vector<Export> exports_;
};

}  // namespace doppel::nbd
