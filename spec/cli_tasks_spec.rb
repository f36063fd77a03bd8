# frozen_string_literal: true

require "json"
require_relative "../examples/pictures"

# Multi-label models, several outputs, prediction sets and intervals, with the real core.
RSpec.describe "Tasks on the command line", :folder do
  # Grey paper with a broad stripe of each colour.
  def stripes(name, colors, random)
    Pictures.png("#{@folder}/#{name}.png") do |x, _|
      ink = Photos::COLORS[colors[x / 20]] if (x % 20) > 5
      Array.new(3) { |i| ((ink ? ink[i] : 160) + random.rand(-30..30)).clamp(0, 255) }
    end
    "#{name}.png"
  end

  describe "a model of labels" do
    before(:context) do
      random = Random.new(1)
      lines = Array.new(40) do |i|
        colors = Photos::COLORS.keys.select { random.rand < 0.45 }
        { path: stripes("a#{i}", colors, random), label: colors }
      end
      File.write("#{@folder}/labels.jsonl", lines.map(&:to_json).join("\n"))
      @trained = transfer("train", "#{@folder}/labels.jsonl", "--save", model)
    end

    def model = "#{@folder}/labels.transfer"

    it "is trained and reported" do
      out, err, status = @trained
      expect([err, status]).to eq(["", 0])
      expect(out).to match(Regexp.new(<<~'TEXT'.gsub("NUMBER", '\d+\.\d').strip))
        \AMean average precision on 8 held-out images: NUMBER % \(95 % interval NUMBER % to NUMBER %\)
        Baseline \(the same labels always\): NUMBER %
        Micro-F1 NUMBER %, macro-F1 NUMBER %, exact match NUMBER %
        Images: train 27 \+ valid 5 \+ test 8 = 40; 32 fitted, 32 calibrated on \(cross-validation\), 8 measured; took
      TEXT
      expect(transfer("info", model).first).to match(/^task +multi_label$.*^labels +blue, green, red$.*^Mean average/m)
    end

    it "is evaluated, with a row for each label" do
      table = transfer("evaluate", model, "#{@folder}/labels.jsonl").first.lines(chomp: true).drop(4)
      expect(table[0]).to eq("label  average precision  precision  recall     f1  threshold  images")
      expect(table.drop(1).map { |line| line[/^\w+/] }).to eq(%w[blue green red])
    end

    it "predicts labels" do
      random = Random.new(9)
      photos = [%w[red blue], [], %w[green]].each_with_index.map { |colors, i| stripes("new#{i}", colors, random) }
      photos.map! { |name| "#{@folder}/#{name}" }
      out, err, status = transfer("predict", model, *photos)
      expect([err, status]).to eq(["", 0])
      said = out.lines(chomp: true).map { |line| line.split("\t") }
      expect(said.map(&:last)).to eq(photos)
      expect(said.map { |labels, _| labels.split("|").sort }).to eq([%w[blue red], [], %w[green]])

      top = transfer("predict", model, photos[0], "--top", "3").first.lines.map { |line| line.split("\t") }
      expect(top.map(&:first)).to contain_exactly("red", "green", "blue")
      json = JSON.parse(transfer("predict", model, "--json", photos[2]).first)
      expect(json).to include("input" => photos[2], "labels" => ["green"], "scores" => include("red", "blue"),
                              "unknown" => false)

      ours = Transfer.load(model).predict(photos)
      expect([ours[0].labels.sort, ours[1].labels]).to eq([%w[blue red], []])
      expect(transfer("predict", model, photos[0], "--level", "0.9")).to eq(
        ["", "transfer: level: prediction sets are not available for multi_label models\n", 2]
      )
    end

    it "is trained from rows, as from the manifest" do
      rows = File.readlines("#{@folder}/labels.jsonl").map do |line|
        path, colors = JSON.parse(line).values_at("path", "label")
        { input: "#{@folder}/#{path}", label: colors.map(&:to_sym) }
      end
      from_rows = Transfer.train(backbone: "mobilenet_v2", data: rows.lazy, quiet: true)
      expect(from_rows.metrics).to eq(Transfer.load(model).metrics)
      expect(from_rows.inspect).to match(/multi_label of blue, green, red, mean_average_precision [01]\.\d+>$/)
    end

    it "names a label that is never there" do
      rows = Array.new(4) { |i| { input: "#{@folder}/a#{i}.png", red: i.even?, blue: 0 } }
      words = { backbone: "mobilenet_v2", data: rows, task: :multi_label, columns: { target: %w[red blue] } }
      expect { Transfer.train(quiet: true, **words) }.to raise_error(
        Transfer::DataError, 'no example has the label "blue": leave it out, or add examples with it'
      )
    end
  end

  describe "several numbers" do
    before(:context) do
      random = Random.new(2)
      lines = Array.new(40) do |i|
        radius = random.rand(5.0..30.0)
        shade = random.rand(0..120)
        Pictures.png("#{@folder}/d#{i}.png") do |x, y|
          ((x - 32)**2) + ((y - 32)**2) < radius**2 ? [shade] * 3 : [random.rand(200..255)] * 3
        end
        "d#{i}.png,#{radius.round(2)},#{shade}"
      end
      File.write("#{@folder}/discs.csv", ["path,radius,shade", *lines].join("\n"))
      @trained = transfer("train", "#{@folder}/discs.csv", "--target-column", "radius,shade", "--save", model)
    end

    def model = "#{@folder}/discs.transfer"

    it "are predicted with intervals" do
      out, err, status = @trained
      expect([err, status]).to eq(["", 0])
      expect(out).to start_with("Mean absolute error on 8 held-out images: ")
      expect(transfer("evaluate", model, "#{@folder}/discs.csv").first).to match(
        /^Prediction intervals at level 90\.0 %: coverage \d+\.\d % \(95 % interval \d+\.\d % to \d+\.\d %\)$/
      )
      photo = "#{@folder}/d0.png"
      plain = transfer("predict", model, photo).first
      expect(plain).to match(/\Aradius=\d+\.\d+\tshade=-?\d+\.\d+\t#{photo}\n\z/)
      expect(transfer("predict", model, photo, "--level", "0.9").first).to match(
        /\Aradius=\S+\tshade=\S+\t-?\d+\.\d+\.\.\d+\.\d+\t-?\d+\.\d+\.\.\d+\.\d+\t#{photo}\n\z/
      )
      prediction = Transfer.load(model).predict(photo, level: 0.8)
      expect(prediction.values.keys).to eq(%w[radius shade])
      %w[radius shade].each do |name|
        expect(prediction.values[name]).to be_between(*prediction.intervals[name])
      end
      expect { Transfer.load(model).predict(photo, level: 0.99) }.to raise_error(
        Transfer::RecipeError, "level: 0.99 needs at least 99 held-out examples, and this model has 32"
      )
    end
  end
end
