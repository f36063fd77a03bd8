# frozen_string_literal: true

# The textbook case: a frozen MobileNet, one dense softmax layer for ten classes, Adam, five epochs.
#
#   ruby -I gem/lib examples/ten_classes.rb             # 1797 handwritten digits
#   ruby -I gem/lib examples/ten_classes.rb 20          # 20 of each

require "tmpdir"
require "transfer"

def write_digits(folder, per_class)
  command = [*Transfer::Python.command, "#{__dir__}/digits.py", folder, *per_class]
  system(*command) || abort("the digits come from scikit-learn: #{command.first} -m pip install scikit-learn")
end

Dir.mktmpdir do |scratch|
  write_digits("#{scratch}/digits", ARGV.first(1))

  model = Transfer.train(backbone: "mobilenet_v2", data: "#{scratch}/digits/photos") do
    freeze :backbone
    head :linear
    train epochs: 5, optimizer: :adam, learning_rate: 1e-2
    on(:epoch) { |epoch| puts "epoch #{epoch.number}: accuracy #{epoch.metrics[:accuracy].round(3)}" }
  end

  puts "accuracy #{model.metrics[:accuracy].round(3)}, guessing gives #{model.metrics[:baseline][:accuracy].round(3)}"
  pictures = Dir["#{scratch}/digits/unseen/*"]
  pictures.zip(model.predict(pictures)) { |path, prediction| puts "#{File.basename(path)} is a #{prediction.label}" }
end
