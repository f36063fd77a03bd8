# frozen_string_literal: true

# The program that `bin/quickstart` runs: train on FOLDER/photos, then predict FOLDER/unseen.
#
#   ruby -I gem/lib examples/quickstart.rb FOLDER

require "transfer"

# The steps of a training, a line each with its time; on a terminal the current line shows the progress.
class Steps
  WIDTH = 78

  def initialize(out)
    @out = out
    @number = 0
  end

  def begin(title)
    finish
    @title = title
    @number += 1
    @started = Process.clock_gettime(Process::CLOCK_MONOTONIC)
    draw
  end

  def count(done, total, unit)
    @counted = "#{done} of #{total} #{unit}"
    draw
  end

  def finish
    @counted = nil
    @out.puts "#{"\r\e[K" if @out.tty?}#{line}" if @title
    @title = nil
  end

  private

  def draw
    @out.print("\r\e[K#{line}") if @out.tty?
  end

  def line
    seconds = format("%.1f s", Process.clock_gettime(Process::CLOCK_MONOTONIC) - @started)
    left = ["  #{@number}  #{@title}", @counted].compact.join(", ")
    left[0, WIDTH - seconds.size - 1].ljust(WIDTH - seconds.size) + seconds
  end
end

def bold(text) = $stdout.tty? ? "\e[1m#{text}\e[0m" : text
def row(left, right) = puts("  #{left.to_s.ljust(32)} #{right}")
def percent(share) = "#{(share * 100).round(1)} %"
def seconds = Process.clock_gettime(Process::CLOCK_MONOTONIC)

def describe(photos)
  counts = Dir["#{photos}/*"].to_h { |folder| [File.basename(folder), Dir["#{folder}/*"].size] }
  puts bold("#{counts.values.sum} pictures in #{counts.size} classes"), "  #{photos}"
  words = counts.sort_by { |_, count| -count }.map { |label, count| "#{label} #{count}" }
  puts words.join(", ").gsub(/(.{1,74}(?:,|\z)) ?/, "  \\1\n"), ""
end

def train(photos)
  steps = Steps.new($stdout)
  puts bold("Training MobileNetV2, pretrained on ImageNet")
  model = Transfer.train(backbone: "mobilenet_v2", data: photos, quiet: true) do
    on(:stage) { |stage| steps.begin(stage.title) }
    on(:progress) { |progress| steps.count(progress.done, progress.total, progress.unit) }
  end
  steps.finish
  model
end

def report(metrics)
  low, high = metrics[:intervals][:accuracy].map { |share| percent(share) }
  baseline = metrics[:baseline]
  puts "", bold("Accuracy on #{metrics[:examples]} held-out pictures")
  row "this model", "#{percent(metrics[:accuracy])}  (95 % interval #{low} to #{high})"
  row "baseline (always \"#{baseline[:label]}\")", percent(baseline[:accuracy])
  puts "", bold("Most frequent confusions")
  metrics[:most_confused].each { |pair| row "#{pair[:truth]} taken for #{pair[:predicted]}", pair[:count] }
end

def predict(model, pictures)
  puts "", bold("Predictions for three new pictures")
  pictures.zip(model.predict(pictures)) do |picture, prediction|
    scores = prediction.top(2).map { |label, score| "#{label} #{format('%.2f', score)}" }
    row File.basename(picture), scores.join(", ")
  end
end

$stdout.sync = true
folder = ARGV.fetch(0)
started = seconds
describe("#{folder}/photos")
model = train("#{folder}/photos")
trained = seconds
report(model.metrics)

file = model.save("#{folder}/quickstart.transfer")
puts "", bold("Saved"), "  #{file} (#{(File.size(file) / 1e6).round(1)} MB)"
before = seconds
predict(Transfer.load(file), Dir["#{folder}/unseen/*"])
puts "", bold("Time")
row "training", "#{(trained - started).round(1)} s"
row "three predictions", "#{(seconds - before).round(1)} s"
row "total", "#{(seconds - started).round(1)} s"

puts "", bold("Next"), <<~TEXT.gsub(/^/, "  ")
  bin/console
  model = Transfer.train(backbone: "mobilenet_v2", data: "a folder per class/")
  model.predict("new.jpg").label
TEXT
