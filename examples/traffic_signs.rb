# frozen_string_literal: true

# Recognize road signs in photos: 46 classes, a frozen MobileNetV2 and a linear head.
# docs/guides/fields/traffic_signs.md explains it.
#
#   ruby -I gem/lib examples/traffic_signs.rb              # 20 photos of each sign
#   ruby -I gem/lib examples/traffic_signs.rb 8            # 8 of each
#   ruby -I gem/lib examples/traffic_signs.rb 20 fine_tune # then fine-tune the last blocks

require "tmpdir"
require "transfer"

per_sign, fine_tune = ARGV

Dir.mktmpdir do |scratch|
  command = [*Transfer::Python.command, "#{__dir__}/signs.py", "#{scratch}/signs", *per_sign]
  system(*command) || abort("signs.py failed")

  model = Transfer.train(backbone: "mobilenet_v2", data: "#{scratch}/signs/photos", seed: 0) do
    freeze :backbone
    train
    if fine_tune
      unfreeze last: 4
      train epochs: 5
    end
  end

  low, high = model.metrics[:intervals][:accuracy]
  puts "#{model.labels.size} signs, #{model.metrics[:examples]} held-out photos"
  puts format("accuracy %.3f (95 %% interval %.3f to %.3f)", model.metrics[:accuracy], low, high)
  puts format("baseline %.3f", model.metrics[:baseline][:accuracy])
  model.metrics[:most_confused].each { |pair| puts "#{pair[:truth]} taken for #{pair[:predicted]}: #{pair[:count]}" }

  photos = Dir["#{scratch}/signs/unseen/*"]
  photos.zip(model.predict(photos, level: 0.9)) do |photo, prediction|
    puts "#{File.basename(photo, '.jpg')}: #{prediction.label} (#{format('%.2f', prediction.score)}), " \
         "90 % set #{prediction.set.join(', ')}"
  end
end
