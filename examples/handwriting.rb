# frozen_string_literal: true

# Read handwritten digits and pass the doubtful ones to a teacher: a frozen MobileNetV2, one dense softmax layer for ten
# classes, Adam, five epochs. docs/guides/fields/education.md explains it.
#
#   ruby -I gem/lib examples/handwriting.rb             # scikit-learn's 1797 digits
#   ruby -I gem/lib examples/handwriting.rb 20          # 20 of each

require "tmpdir"
require "transfer"

def write_digits(folder, per_class)
  command = [*Transfer::Python.command, "#{__dir__}/digits.py", folder, *per_class]
  system(*command) || abort("the digits come from scikit-learn: transfer setup --extras sklearn")
end

Dir.mktmpdir do |scratch|
  write_digits("#{scratch}/digits", ARGV.first(1))

  model = Transfer.train(backbone: "mobilenet_v2", data: "#{scratch}/digits/photos") do
    freeze :backbone
    head :linear
    train epochs: 5, optimizer: :adam, learning_rate: 1e-2
    seed 0
    on(:epoch) { |epoch| puts "epoch #{epoch.number}: accuracy #{epoch.metrics[:accuracy].round(3)}" }
  end

  puts format("%<examples>d held-out digits: accuracy %<accuracy>.3f", model.metrics.slice(:examples, :accuracy))
  puts format("95 %% interval %.3f to %.3f", *model.metrics[:intervals][:accuracy])
  puts format("baseline %.3f", model.metrics[:baseline][:accuracy])

  pictures = Dir["#{scratch}/digits/unseen/*"]
  pictures.zip(model.predict(pictures, level: 0.95)) do |path, prediction|
    reader = prediction.set.one? ? "read as #{prediction.label}" : "for the teacher: #{prediction.set.join(' or ')}"
    puts "#{File.basename(path)}: #{reader}"
  end
end
