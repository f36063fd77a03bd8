# frozen_string_literal: true

# The gem as `TransferLearning`, for an application with a `Transfer` of its own.
#
# The code is written in `module Transfer`. That constant is TransferLearning while all of the code is loaded here;
# then the constant of the application is put back. The code itself finds the name `Transfer` in TransferLearning.
#
# @example In a Gemfile
#   gem "transfer-rb", require: "transfer/namespaced"
module TransferLearning
  const_set(:Transfer, self)
  send(:private_constant, :Transfer) # so written, YARD does not hide the whole gem
end

own = Object.const_source_location(:Transfer)&.first.to_s.start_with?("#{__dir__}/")
if own && Transfer.const_defined?(:Model)
  raise NameError, "\"transfer\" is loaded already. Fix: require either \"transfer\" or \"transfer/namespaced\""
end

$LOADED_FEATURES.delete("#{__dir__}/version.rb") if own # a gemspec needs the version alone
path = Object.autoload?(:Transfer)
constant = Object.const_get(:Transfer) if Object.const_defined?(:Transfer) && !path && !own

begin
  Object.send(:remove_const, :Transfer) if Object.const_defined?(:Transfer)
  Object.const_set(:Transfer, TransferLearning)
  require_relative "../transfer"
  # The constants that are otherwise loaded at their first use, when `Transfer` is the application's again.
  { Amounts: [], Permissions: [], Bridge: [:PyCall], Telemetry: [], Signature: [], Python: [],
    Onnx: %i[Pictures Image Texts Tokenizer Rows Boxes Sequences],
    Setup: %i[BasePython Shell Torch], Doctor: %i[BridgeTest Serving], Uninstall: [:Users],
    Testing: [] }.each do |name, within|
    within.each { |inner| TransferLearning.const_get(name).const_get(inner) }
    TransferLearning.const_get(name)
  end
ensure
  Object.send(:remove_const, :Transfer)
  Object.autoload(:Transfer, path) if path
  Object.const_set(:Transfer, constant) if constant
end
