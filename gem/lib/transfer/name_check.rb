# frozen_string_literal: true

# The constant `Transfer` must be free, or belong to the gem: its gemspec loads the version alone.
file, line = Object.const_source_location(:Transfer)
unless file.nil? || (File.exist?(file) && File.realpath(file).start_with?("#{__dir__}/"))
  raise NameError, "Transfer is defined already (#{file}:#{line}), transfer-rb can't define it. Fix: require " \
                   "\"transfer/namespaced\", which defines TransferLearning instead (in a Gemfile: " \
                   "gem \"transfer-rb\", require: \"transfer/namespaced\")"
end
