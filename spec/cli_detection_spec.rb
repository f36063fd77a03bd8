# frozen_string_literal: true

require "json"
require_relative "../examples/pictures"

# Train, predict, draw and evaluate a detector, with the real core.
RSpec.describe "Object detection on the command line", :folder do
  before(:context) do
    random = Random.new(1)
    lines = Array.new(20) do |number|
      left, top = Array.new(2) { random.rand(36) }
      Pictures.png("#{@folder}/#{number}.png") do |x, y|
        inside = (left...(left + 28)).cover?(x) && (top...(top + 28)).cover?(y)
        (inside ? [220, 40, 40] : [110, 120, 100]).map { |value| value + random.rand(-20..20) }
      end
      "#{number}.png,brick,#{left},#{top},28,28"
    end
    Pictures.png("#{@folder}/empty.png") { [110, 120, 100] }
    File.write("#{@folder}/bricks.csv", ["path,label,x,y,width,height", *lines, "empty.png,,,,,"].join("\n"))
    @trained = transfer("train", "#{@folder}/bricks.csv", "--task", "detection", "--image-size", "96", "--head", "fcos",
                        "--batch-size", "4", "--epochs", "6", "--learning-rate", "3e-3", "--save", model)
    Transfer.shutdown
  end

  def model = "#{@folder}/bricks.transfer"

  it "is trained, and reports average precision" do
    out, _, status = @trained
    expect(status).to eq(0)
    expect(out).to match(/\AAverage precision \(IoU 0.5 to 0.95\) on \d+ held-out images with \d+ boxes: \d+\.\d %/)
    expect(out).to match(/^At IoU 0.5: .*; small objects .*, medium .*, large unknown$/)
    expect(out).to match(/^Baseline \(the mean box of each class\): \d+\.\d %$/)
    expect(transfer("info", model).first).to match(/^task +detection$/)
  end

  it "prints a line per box, and draws" do
    out, err, status = transfer("predict", model, "#{@folder}/0.png", "--draw", "#{@folder}/drawn.png")
    expect([err, status]).to eq(["transfer: wrote #{@folder}/drawn.png\n", 0])
    expect(out.lines).to all(match(%r{\Abrick\t[01]\.\d{4}(\t-?\d+\.\d){4}\t.*/0\.png\n\z}))
    expect(File.binread("#{@folder}/drawn.png", 4)).to eq("\x89PNG".b)
    json = JSON.parse(transfer("predict", model, "#{@folder}/0.png", "--json", "--tile").first)
    expect(json).to include("width" => 64, "height" => 64)
    expect(json["boxes"].size).to eq(out.lines.size)
    expect(transfer("predict", model, "a.png", "b.png", "--draw", "x.png"))
      .to eq(["", "transfer: --draw takes one image. Try: transfer help predict\n", 2])
  end

  it "evaluates with a table of classes" do
    out, = transfer("evaluate", model, "#{@folder}/bricks.csv")
    expect(out).to match(/^class +average precision +average precision 50 +precision +recall +f1 +threshold +boxes$/)
    expect(out).to match(/^brick +[01]\.\d{3} .* 20$/)
    metrics = JSON.parse(transfer("evaluate", model, "#{@folder}/bricks.csv", "--json").first)
    expect(metrics).to include("average_precision_50", "average_recall_100", "worst", "boxes" => 20)
  end
end
