# frozen_string_literal: true

# Train on a folder with one folder per class, save, load and predict.
#
#   ruby -I gem/lib examples/photos.rb            # draws discs, squares and crosses
#   ruby -I gem/lib examples/photos.rb photos/    # your own

require "tmpdir"
require "transfer"
require_relative "pictures"

def draw_photos(folder, random: Random.new(1))
  %i[disc square cross].each do |shape|
    Dir.mkdir(File.join(folder, shape.to_s))
    20.times { |i| Pictures.shape("#{folder}/#{shape}/#{i}.png", shape, radius: random.rand(10.0..25.0), random:) }
  end
end

Dir.mktmpdir do |scratch|
  photos = ARGV.fetch(0) { scratch.tap { draw_photos(scratch) } }

  model = Transfer.train(backbone: "mobilenet_v2", data: photos)
  puts "accuracy on held-out photos: #{model.metrics[:accuracy].round(3)}"

  Dir.mktmpdir do |folder|
    file = model.save("#{folder}/shapes.transfer")
    photo = Dir["#{photos}/*/*"].min
    prediction = Transfer.load(file).predict(photo)
    puts "#{File.basename(File.dirname(photo))} is predicted as #{prediction.label} (#{prediction.score.round(2)})"
  end
end
