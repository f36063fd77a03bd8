# frozen_string_literal: true

require "json"

RSpec.describe "transfer backbones" do
  # The table's rows; what follows an empty line explains it.
  def rows(*words)
    lines = transfer("backbones", *words).first.lines(chomp: true)
    lines.drop(1).take_while { |line| line != "" }.map(&:split)
  end

  it "lists, filters and sorts" do
    all = rows("--source", "torchvision", "--all", "--sort", "name")
    expect(all.map(&:first)).to eq(all.map(&:first).sort).and include("mobilenet_v2", "resnet18")
    expect(all.size).to eq(89)
    small = rows("--max-parameters", "3.6M", "--sort", "parameters", "--source", "torchvision")
    expect(small.map { |row| row[1].to_f }).to eq(small.map { |row| row[1].to_f }.sort)
    expect(small.map(&:first)).to include("mobilenet_v2").and(satisfy { |names| !names.include?("resnet18") })
    best = rows("--sort", "metric", "--source", "torchvision").first
    expect(best[2].to_f).to eq(all.map { |row| row[2].to_f }.max)
    expect(rows("--license", "bsd-3-clause", "--all")).to all(include("BSD-3-Clause"))
    expect(rows("--offline").map(&:first)).to include("mobilenet_v2").and(satisfy { |names| names.size < 89 })
  end

  it "lists the most relevant first, in 100 columns" do
    %w[image_classification text_classification].each do |task|
      out, err, status = transfer("backbones", "--task", task)
      expect([err, status]).to eq(["", 0])
      expect(out.lines(chomp: true).map(&:size).max).to be <= 100
      expect(out).to match(/^metric: /)
    end
    out = transfer("backbones", "--task", "image_classification", "--max-parameters", "10M").first
    above = out.scan(/\s([+-]\d+\.\d)\s/).flatten.map(&:to_f)
    expect(above).to eq(above.sort.reverse).and(satisfy { |numbers| numbers.size == 30 })
    expect(out).to match(/^\d+ more: --all shows them/)
    all = transfer("backbones", "--all").first.lines(chomp: true)
    expect([all.size, all.map(&:size).max]).to match([be > 1200, be <= 100])
  end

  it "describes one, and prints JSON" do
    page = transfer("backbones", "resnet18").first
    expect(page).to include("arXiv:1512.03385", "9 blocks:\n  stem, layer1_0,", "IMAGENET1K_V1  BSD-3-Clause   69.8")
    expect(page).to match(/^source +torchvision$.*^input size +224 x 224 .*^metric +69\.8 \(ImageNet-1K top-1\)/m)
    expect(page).to match(/^for size +-\d+\.\d compared .*^terms: ImageNet/m)
    page = transfer("backbones", "sklearn:ColumnTransformer").first
    expect(page).to match(/^1 block:/)
    expect(page).not_to match(/^embedding width|^parameters/)
    facts = JSON.parse(transfer("backbones", "--json", "--source", "timm").first)
    expect(facts.first).to include("name", "license", "paper", "arxiv", "weights_url", "metric_source", "relevance")
  end

  it "suggests the nearest name" do
    expect(transfer("backbones", "--license", "apache")).to match(
      ["", /\Atransfer: unknown license "apache", did you mean "Apache-2.0"\?/, 2]
    )
    expect(transfer("backbones", "resnet19").last(2)).to match([/did you mean "resnet18"\?/, 2])
  end
end
